#pragma once
// The filter: all cosines of a range of prototypes with the batch, one compare each, nothing stored
// but the survivors.
//
//   survivor (i, j)  ⇔  c̃_ij > bounds[i] and j is not row i's label,   |c̃_ij − c_ij| ≤ slack[i]
//
// Shapes: shadow [C, padded D] and half-precision batch [B, padded D], fp16; lists [B, capacity].
// Accumulation: float32 (the bound on its error is in shadow.cuh). Traffic: each tile of prototypes
// is read once per tile of rows; no [B, C] array exists.
//
// Tiers: tensor cores (mma.sync, sm_80 and later) and plain fused multiply-adds (any device). Their
// c̃ differ within the slack, so what survives may differ, never what is solved.

#include "cuda/head/head_arrays.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

struct Candidate {
  std::int32_t identity;
  float cosine;  // c̃
};

// Where survivors go. The order within a row is not determined.
struct CandidateArrays {
  Candidate* lists = nullptr;  // [B, capacity]
  std::uint32_t* counts =
      nullptr;              // [B]: survivors so far; beyond the capacity they are only counted
  float* bounds = nullptr;  // [B]; +∞ ends a row
  const RowState* rows = nullptr;  // for the labels; nullptr: no class is left out
  std::size_t capacity = 0;
};

// Appends the survivors among identities [begin, end).
void filter_prototypes(DeviceContext& context, const PrototypeArrays& prototypes,
                       const BatchArrays& batch, const CandidateArrays& candidates,
                       std::size_t begin, std::size_t end);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
