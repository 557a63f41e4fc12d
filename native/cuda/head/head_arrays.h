#pragma once
// The arrays of a head on the device, as kernels see them: plain structures of pointers and sizes,
// passed by value. (Sizes are 8 bytes wide: the emulated device looks at every word of an argument
// for addresses that are not its own.)

#include <cstddef>
#include <cstdint>

#include "cpu/row_solver.h"
#include "cuda/device_context.h"
#include "cuda/device_loss.h"
#include "head/head.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// Rows of a shadow and low-precision embeddings are padded with zeros to whole slabs of 64 bytes,
// so that filter tiles need no edge cases along D.
inline constexpr std::size_t kSlabBytes = 64;
inline constexpr std::size_t padded_dim(std::size_t dim, bool is_int8) {
  const std::size_t multiple = is_int8 ? kSlabBytes : kSlabBytes / 2;
  return (dim + multiple - 1) / multiple * multiple;
}

// State of C prototypes. One of the two shadows exists (shadow.cuh).
struct PrototypeArrays {
  float* rows = nullptr;               // raw w [C, D]
  double* norms = nullptr;             // ‖w‖ [C]
  __half* shadow = nullptr;            // ŵ rounded to fp16 [C, padded D], padding zero
  std::int8_t* int8_shadow = nullptr;  // ŵ / scale rounded to int8 [C, padded D], padding zero
  float* int8_scales = nullptr;        // [C]
  float* int8_residuals = nullptr;     // [C]: ≥ ‖ŵ − scale·int8‖
  float* momentum = nullptr;           // [C, D] or nullptr
  float* accumulator = nullptr;        // [C] or nullptr
  const float* reference = nullptr;    // q [C] or nullptr (all 1)
  std::size_t identities = 0;
  std::size_t dim = 0;
  std::size_t shadow_dim = 0;  // padded D
  FilterTier filter = FilterTier::kAuto;
};

// A batch of embeddings after preparation (prepare_batch.h), in the precision of the shadow.
struct BatchArrays {
  const float* values = nullptr;     // raw x as float32 [B, D]
  double* norms = nullptr;           // ‖x‖ [B]
  float* unit = nullptr;             // x̂ [B, D]
  __half* half_unit = nullptr;       // x̂ rounded to fp16 [B, padded D], padding zero
  std::int8_t* int8_unit = nullptr;  // x̂ / scale rounded to int8 [B, padded D], padding zero
  float* int8_scales = nullptr;      // [B]
  float* int8_factors = nullptr;     // [B]: ≥ 1 + ‖x̂ − scale·int8‖
  double* slack = nullptr;           // [B]: the row's part of the filter's error (filter.h)
  std::size_t rows = 0;
  std::size_t dim = 0;
  std::size_t shadow_dim = 0;  // padded D
};

// The identities [B, count] that have the inter-top-K penalty, −1 for none; count 0 without one.
struct TopArrays {
  const std::int32_t* identities = nullptr;
  std::size_t count = 0;
  double penalty = 0;

  // Calls visit(identity) for the row's top classes.
  template <class Visit>
  __device__ void for_row(std::size_t row, const Visit& visit) const {
    for (std::size_t rank = 0; rank < count; ++rank) {
      const std::int32_t identity = identities[row * count + rank];
      if (identity >= 0) visit(identity);
    }
  }
};

// What the forward pass finds out about one row; SolvedRow of the CPU. Downloaded as it is.
struct RowState {
  double label_cosine;  // c_y before the margin
  DeviceTarget target;
  RowSolution solution;
  double others;         // Σ_{j≠y} p_j
  double pull;           // −∂ℓ/∂θ_y: 1 − p_y, less with label smoothing
  double own;            // p_y
  double excess_cosine;  // Σ_{j≠y} p_j (c_j − ψ_y)
  double smoothing;      // what label smoothing adds to the loss
  double loss;
  std::int64_t label;    // −1: no target
  std::int64_t ignored;  // 1: takes no part
  std::int64_t support;  // classes with p > 0, the target included
  std::int64_t dense;    // 1: solved by streaming all classes (softmax, or too many candidates)
};

// The supports of the sparse rows without their targets: row i owns the entries offsets[i] …
// offsets[i] + counts[i] − 1, ascending by identity. Dense rows have none.
struct SupportArrays {
  const std::uint64_t* offsets = nullptr;  // [B + 1]
  std::uint32_t* counts = nullptr;         // [B]
  std::int32_t* identities = nullptr;
  double* cosines = nullptr;     // exact, float64
  double* posteriors = nullptr;  // p > 0
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
