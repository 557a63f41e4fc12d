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

// What the filter reads, of prototypes and embeddings alike (shadow.cuh).
enum class ShadowFormat : std::uint64_t { kHalf, kInt8, kUpper };

__host__ __device__ inline constexpr ShadowFormat shadow_format(FilterTier filter) {
  switch (filter) {
    case FilterTier::kMmaInt8:
    case FilterTier::kWgmmaInt8:
      return ShadowFormat::kInt8;
    case FilterTier::kMmaSplit:
    case FilterTier::kWgmmaSplit:
      return ShadowFormat::kUpper;
    case FilterTier::kAuto:
    case FilterTier::kSimt:
    case FilterTier::kMma:
    case FilterTier::kWgmma:
      break;
  }
  return ShadowFormat::kHalf;
}
inline constexpr std::size_t element_bytes(ShadowFormat format) {
  return format == ShadowFormat::kInt8 ? 1 : 2;
}

// Rows that the filter reads are padded with zeros to whole slabs of 64 bytes, so that its tiles
// need no edge cases along D.
inline constexpr std::size_t kSlabBytes = 64;
inline constexpr std::size_t padded_dim(std::size_t dim, ShadowFormat format) {
  const std::size_t multiple = kSlabBytes / element_bytes(format);
  return (dim + multiple - 1) / multiple * multiple;
}

// State of C prototypes (with sub-centres the rows of C/K classes, head/sub_centres.h; what is said
// of identities here holds for rows): whole float32 rows and a shadow of them, or rows in two
// halves (prototype_row.cuh).
struct PrototypeArrays {
  float* rows = nullptr;               // raw w [C, D]
  std::uint16_t* upper = nullptr;      // upper halves of raw w [C, padded D], padding zero
  std::uint16_t* lower = nullptr;      // lower halves [C, D]
  double* norms = nullptr;             // ‖w‖ [C]
  __half* shadow = nullptr;            // ŵ rounded to fp16 [C, padded D], padding zero
  std::int8_t* int8_shadow = nullptr;  // ŵ / scale rounded to int8 [C, padded D], padding zero
  float* scales = nullptr;             // [C]; of int8, and of upper halves: 1/‖w‖
  float* residuals = nullptr;          // [C]: ≥ ‖ŵ − scale·(what the filter reads)‖
  float* momentum = nullptr;           // [C, D] or nullptr
  float* accumulator = nullptr;        // [C] or nullptr
  const float* reference = nullptr;    // q of the classes or nullptr (all 1)
  std::size_t identities = 0;
  std::size_t sub_centres = 1;
  std::size_t dim = 0;
  std::size_t shadow_dim = 0;  // padded D
  FilterTier filter = FilterTier::kAuto;

  __host__ __device__ ShadowFormat format() const { return shadow_format(filter); }
  __host__ __device__ std::size_t classes() const {
    return sub_centres == 1 ? identities : identities / sub_centres;
  }
  __device__ std::size_t class_of(std::size_t row) const {
    return sub_centres == 1 ? row : row / sub_centres;
  }
  // q of a row's class.
  __device__ double measure(std::size_t row) const {
    return reference == nullptr ? 1.0 : reference[class_of(row)];
  }
};

// A batch of embeddings after preparation (prepare_batch.h), in the precision of the shadow.
struct BatchArrays {
  const float* values = nullptr;        // raw x as float32 [B, D]
  double* norms = nullptr;              // ‖x‖ [B]
  float* unit = nullptr;                // x̂ [B, D]
  __half* half_unit = nullptr;          // x̂ rounded to fp16 [B, padded D], padding zero
  std::int8_t* int8_unit = nullptr;     // x̂ / scale rounded to int8 [B, padded D], padding zero
  std::uint16_t* upper_unit = nullptr;  // x̂ rounded to bfloat16 [B, padded D], padding zero
  float* scales = nullptr;              // [B], of int8; else 1
  float* factors = nullptr;             // [B]: ≥ 1 + ‖x̂ − scale·(what the filter reads)‖
  double* slack = nullptr;              // [B]: the row's part of the filter's error (filter.h)
  std::size_t rows = 0;
  std::size_t dim = 0;
  std::size_t shadow_dim = 0;  // padded D
};

// The classes [B, count] that have the inter-top-K penalty, −1 for none; count 0 without one.
struct TopArrays {
  const std::int32_t* identities = nullptr;
  std::size_t count = 0;
  double penalty = 0;

  // Calls visit(class) for the row's top classes.
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
  double exact_from;     // dense rows: ExactClasses::from, +∞ until it is known
  double loss;
  std::int64_t label;      // −1: no target
  std::int64_t label_row;  // the target's prototype: the label, or its best sub-centre
  std::int64_t ignored;    // 1: takes no part
  std::int64_t support;    // classes with p > 0, the target included
  std::int64_t dense;      // 1: solved by streaming all classes (softmax, or too many candidates)
};

// The supports of the sparse rows without their targets: row i owns the entries offsets[i] …
// offsets[i] + counts[i] − 1, ascending by identity. Dense rows have none.
struct SupportArrays {
  const std::uint64_t* offsets = nullptr;  // [B]
  std::uint32_t* counts = nullptr;         // [B]
  std::int32_t* identities = nullptr;
  double* cosines = nullptr;     // exact, float64
  double* posteriors = nullptr;  // p > 0
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
