#pragma once
// Gradients of one class from the pairs of its segment, in one block; formulas in
// head/head_gradient.h. Used by the sparse and the dense backward pass.

#include "cuda/head/head_backward.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// Of ∂ℓ/∂c, averaged over the batch: g_ij = entry·p_ij, g_iy = target·ψ'(c_y)·pull_i.
struct GradientFactors {
  double entry;    // s/B
  double target;   // −s/B
  double uniform;  // ε/C of label smoothing, taken off the posteriors of dense rows
  // `rows`: those that count.
  static GradientFactors of(const DeviceLoss& loss, std::size_t rows, std::size_t classes) {
    const double mean = 1.0 / static_cast<double>(rows);
    return {loss.scale / static_cast<double>(rows), -loss.scale * mean,
            loss.smoothing / static_cast<double>(classes)};
  }
};

__device__ inline double target_coefficient(const GradientFactors& factors, const RowState& row) {
  return factors.target * row.target.derivative * row.pull;
}

// SortedPairs as kernels see them.
struct PairArrays {
  const std::uint32_t* identities;
  const std::uint64_t* sources;
  const std::uint32_t* starts;
  const std::uint32_t* segments;
  std::size_t pairs;
  static PairArrays of(const SortedPairs& pairs) {
    return {pairs.identities.data(), pairs.sources.data(), pairs.starts.data(),
            pairs.segments.data(), pairs.pairs};
  }
};

// A pair as sums need it.
struct PairTerm {
  double coefficient = 0;
  double cosine = 0;
  std::size_t place = 0;  // of its unit embedding

  __device__ static PairTerm of(std::uint64_t source, const SupportArrays& supports,
                                const RowState* rows, const BatchArrays& batch,
                                const GradientFactors& factors) {
    const auto row = static_cast<std::size_t>(source >> 32);
    const auto slot = static_cast<std::uint32_t>(source);
    if (slot == kTargetSlot) {
      return {target_coefficient(factors, rows[row]), rows[row].label_cosine, row * batch.dim};
    }
    const std::size_t entry = supports.offsets[row] + slot;
    return {factors.entry * supports.posteriors[entry], supports.cosines[entry], row * batch.dim};
  }
};

__device__ inline std::size_t end_of_segment(const PairArrays& pairs, std::size_t segment) {
  return segment + 1 < *pairs.segments ? pairs.starts[segment + 1] : pairs.pairs;
}

// Called by all lanes of a warp: add(count, coefficient, place) with up to 32 pairs of a segment at
// a time, rows ascending, each lane with one of them. Returns Σ g c to all lanes.
template <class Add>
__device__ double for_segment_of_warp(const PairArrays& pairs, std::size_t segment,
                                      const SupportArrays& supports, const RowState* rows,
                                      const BatchArrays& batch, const GradientFactors& factors,
                                      const Add& add) {
  const unsigned lane = threadIdx.x % kWarpSize;
  const std::size_t end = end_of_segment(pairs, segment);
  double projection = 0;
  for (std::size_t first = pairs.starts[segment]; first < end; first += kWarpSize) {
    const auto count = static_cast<unsigned>(min(std::size_t{kWarpSize}, end - first));
    PairTerm term;
    if (lane < count) {
      term = PairTerm::of(pairs.sources[first + lane], supports, rows, batch, factors);
    }
    const double product = term.coefficient * term.cosine;
    for (unsigned i = 0; i < count; ++i) {
      projection += __shfl_sync(kFullMask, product, static_cast<int>(i));
    }
    add(count, term.coefficient, term.place);
  }
  return projection;
}

inline constexpr std::size_t kPairChunk = 128;

// Called by all threads of a block: add(count, coefficients, places) with up to kPairChunk pairs of
// a segment at a time, rows ascending; `places` are those of their unit embeddings. Returns Σ g c
// to all threads.
template <class Add>
__device__ double for_segment(const PairArrays& pairs, std::size_t segment,
                              const SupportArrays& supports, const RowState* rows,
                              const BatchArrays& batch, const GradientFactors& factors,
                              const Add& add) {
  ALPHAMARGIN_SHARED(double, coefficients, kPairChunk);
  ALPHAMARGIN_SHARED(double, products, kPairChunk);
  ALPHAMARGIN_SHARED(std::size_t, places, kPairChunk);
  const std::size_t begin = pairs.starts[segment];
  const std::size_t end = end_of_segment(pairs, segment);
  double projection = 0;
  for (std::size_t first = begin; first < end; first += kPairChunk) {
    const std::size_t count = min(kPairChunk, end - first);
    __syncthreads();  // the last chunk's values have been read
    for (std::size_t i = threadIdx.x; i < count; i += blockDim.x) {
      const PairTerm term = PairTerm::of(pairs.sources[first + i], supports, rows, batch, factors);
      coefficients[i] = term.coefficient;
      products[i] = term.coefficient * term.cosine;
      places[i] = term.place;
    }
    __syncthreads();
    for (std::size_t i = 0; i < count; ++i) projection += products[i];
    add(count, coefficients, places);
  }
  return projection;
}

// Adds Σ g x̂ over the pairs of a segment to sums [D], element k by thread k mod block size.
__device__ inline double add_segment(const PairArrays& pairs, std::size_t segment,
                                     const SupportArrays& supports, const RowState* rows,
                                     const BatchArrays& batch, const GradientFactors& factors,
                                     double* sums) {
  return for_segment(pairs, segment, supports, rows, batch, factors,
                     [&](std::size_t count, const double* coefficients, const std::size_t* places) {
                       for (std::size_t k = threadIdx.x; k < batch.dim; k += blockDim.x) {
                         double sum = sums[k];
                         for (std::size_t i = 0; i < count; ++i) {
                           sum += coefficients[i] * static_cast<double>(batch.unit[places[i] + k]);
                         }
                         sums[k] = sum;
                       }
                     });
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
