#pragma once
// The filter: all cosines of a range of prototypes with the batch, one compare each, nothing stored
// but the survivors.
//
//   survivor (i, j)  ⇔  u_ij > bounds[i] and j is no prototype of row i's label
//   u_ij − 2 spread_ij − slack[i] ≤ c_ij ≤ u_ij + slack[i]
//
// fp16 shadow: u = c̃, spread 0. int8 shadow, upper halves: u = c̃ + spread, spread_ij =
// factors[i]·ρ_j, the certified residual of the class (shadow.cuh).
//
// Shapes: shadow [C, padded D] and low-precision batch [B, padded D]; lists [B, capacity].
// Accumulation: float32 (the bound on its error is in shadow.cuh), int8: exact in int32. Traffic:
// each tile of prototypes is read once from memory and by the other row tiles from cache; no [B, C]
// array exists.
//
// Tiers (FilterTier): tensor cores with fp16, int8 or bfloat16 operands (mma.sync, sm_80 and later,
// filter_mma.cu), those of Hopper with the same (wgmma, sm_90a, filter_wgmma.cu), and plain
// fused multiply-adds (any device, filter_simt.cu). Their c̃ differ within the slack, so what
// survives may differ, never what is solved.

#include "cuda/head/head_arrays.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

struct Candidate {
  std::int32_t identity;
  float cosine;  // u
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

// What is certain of a listed cosine: a lower bound.
struct ListedCosine {
  const Candidate* list;
  double slack;
  const float* residuals;  // [C] or nullptr
  double factor;

  __device__ ListedCosine(const Candidate* entries, double row_slack,
                          const PrototypeArrays& prototypes, const BatchArrays& batch,
                          std::size_t row)
      : list(entries),
        slack(row_slack),
        residuals(prototypes.residuals),
        factor(residuals == nullptr ? 0.0 : 2.0 * batch.factors[row]) {}

  __device__ double operator()(std::size_t j) const {
    const double certain = static_cast<double>(list[j].cosine) - slack;
    return residuals == nullptr ? certain : certain - factor * residuals[list[j].identity];
  }
};

// The tier that the filter of a head of this width runs on this device. When it was asked for one
// that does not take the width: ERR_INVALID_ARGUMENT; that the device or the build does not have:
// ERR_DEVICE.
FilterTier chosen_filter(const DeviceContext& context, FilterTier wanted, std::size_t dim);

// Appends the survivors among identities [begin, end).
void filter_prototypes(DeviceContext& context, const PrototypeArrays& prototypes,
                       const BatchArrays& batch, const CandidateArrays& candidates,
                       std::size_t begin, std::size_t end);

// filter_mma.cu, filter_wgmma.cu, filter_simt.cu --------------------------------------------------

inline constexpr unsigned kSimtTile = 64;  // rows of a block of filter_simt.cu
bool has_wgmma_code();

void filter_by_mma(DeviceContext& context, const PrototypeArrays& prototypes,
                   const BatchArrays& batch, const CandidateArrays& candidates, std::size_t begin,
                   std::size_t end);
void filter_by_wgmma(DeviceContext& context, const PrototypeArrays& prototypes,
                     const BatchArrays& batch, const CandidateArrays& candidates, std::size_t begin,
                     std::size_t end);
void filter_by_simt(DeviceContext& context, const PrototypeArrays& prototypes,
                    const BatchArrays& batch, const CandidateArrays& candidates, std::size_t begin,
                    std::size_t end);

// A survivor straight to its row's list.
__device__ inline void append_candidate(const CandidateArrays& candidates, std::size_t row,
                                        const Candidate& candidate) {
  const std::uint32_t place = atomicAdd(&candidates.counts[row], 1u);
  if (place < candidates.capacity) {
    candidates.lists[row * candidates.capacity + place] = candidate;
  }
}

// The first prototype of a row's label; without one, such that no prototype is among those of it.
__device__ inline std::int32_t first_of_label(const PrototypeArrays& prototypes,
                                              const CandidateArrays& candidates, std::size_t row) {
  const std::int64_t label = candidates.rows == nullptr ? -1 : candidates.rows[row].label;
  return static_cast<std::int32_t>(label * static_cast<std::int64_t>(prototypes.sub_centres));
}

__device__ __forceinline__ bool is_of_label(const PrototypeArrays& prototypes, std::int32_t first,
                                            std::size_t identity) {
  return static_cast<std::uint32_t>(identity) - static_cast<std::uint32_t>(first) <
         static_cast<std::uint32_t>(prototypes.sub_centres);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
