#pragma once
// out [M, N] = left [M, K] · right [K, N] of pairs of float16 (half_pairs.cuh) on tensor cores, in
// float32. Of the four products of two pairs the smallest, below 2^-22 of the whole, is left out.
//
// Accumulation: tensor cores cut off what they add up, so they add up 16 terms at a time (their
// three products, the small ones first); 64 terms are one float32 sum, K/16 where that is more, and
// so are those sums. Of rounded numbers tensor cores add up all of these. An element does not
// depend on its place in a tile. Traffic: tiles of 128 × 128 through shared memory; each operand is
// read once per tile of the other. Requires sm_80.

#include "cuda/device_context.h"
#include "cuda/half_pairs.cuh"
#include "cuda/matrix_product.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// K is padded with zeros, in both operands, to a multiple of this.
inline constexpr std::size_t kPairSlab = 32;
__host__ __device__ inline constexpr std::size_t padded_to_slab(std::size_t count) {
  return (count + kPairSlab - 1) / kPairSlab * kPairSlab;
}

// Which way operands lie: rows of the left one and columns of the right one along K, or across it.
enum class PairLayout { kAlongAlong, kAlongAcross, kAcrossAcross };

// K in pieces, whose products are added up elsewhere.
inline constexpr std::size_t kPairPiece = 512;
inline constexpr std::size_t pieces_of(std::size_t inner) {
  return (inner + kPairPiece - 1) / kPairPiece;
}

struct PairProduct {
  HalfPairs left;
  HalfPairs right;                      // of unit vectors
  ProductShape shape;                   // K before it is padded
  const float* row_inverses = nullptr;  // [pieces, M]: of PairScale; nullptr: unit vectors
  float* out = nullptr;                 // [M, N], or [pieces, M, N]
  std::size_t piece = 0;                // of K: kPairPiece, or 0 for all of it
};

void pair_product(DeviceContext& context, PairLayout layout, const PairProduct& product);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
