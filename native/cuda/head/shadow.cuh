#pragma once
// The low-precision copies that the filter reads, and what their rounding costs.
//
// fp16. x̃, w̃: unit vectors rounded to float32, then to fp16.
//   |x̃·w̃ − x̂·ŵ| ≤ r + (1 + r) ρ,  r = ‖x̂ − x̃‖ (measured),  ρ ≥ ‖ŵ − w̃‖ for any prototype
// fp16 rounds a normal number by at most 2^-11 of itself and a subnormal one by at most 2^-25;
// float32 adds 2^-24. Hence ρ = 2^-11 + 2^-22 + √D·2^-25. A sum of D products of fp16 numbers in
// float32 is off by at most D·2^-22 Σ|x̃_k w̃_k| even where tensor cores truncate instead of round
// (they align to the largest addend with at least 23 bits), and Σ|x̃_k w̃_k| ≤ ‖x̃‖‖w̃‖ ≤ 1.01.
//
// int8. x̃ = s_x·a, w̃ = s_w·b with int8 vectors a, b and scales s = (largest element)/127 of each
// row. Sums of products are exact integers; residuals r = ‖x̂ − x̃‖ and ρ_j = ‖ŵ_j − w̃_j‖ are
// measured for every row, in float64, and rounded up.
//   |x̃·w̃_j − x̂·ŵ_j| ≤ r + (1 + r) ρ_j
// Three float32 products turn the integer into a cosine: at most 2^-22 (1 + r)(1 + ρ_j), for which
// the stored ρ_j is 2^-19 of itself larger and the row's slack 2^-20 (1 + r).

#include "cuda/block_reduce.cuh"
#include "cuda/head/head_arrays.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

inline constexpr double kLargestInt8 = 127;
// Sums of D products of int8 fit 32 bits up to here.
inline constexpr std::size_t kLargestInt8Dim = std::size_t{1} << 17;

// One element of a row, and the square of what rounding it costs.
struct Int8Element {
  std::int8_t value;
  double squared_residual;
};
__device__ inline Int8Element round_to_int8(double exact, float scale) {
  const double steps = scale > 0 ? exact / static_cast<double>(scale) : 0;
  const double whole = rint(steps > kLargestInt8    ? kLargestInt8
                            : steps < -kLargestInt8 ? -kLargestInt8
                                                    : steps);
  const double residual = exact - whole * static_cast<double>(scale);
  return {static_cast<std::int8_t>(whole), residual * residual};
}

__device__ inline void write_int8_shadow_row(const PrototypeArrays& prototypes,
                                             std::size_t identity, const float* row, double norm) {
  std::int8_t* shadow = prototypes.int8_shadow + identity * prototypes.shadow_dim;
  const double inverse = 1 / norm;
  double largest = 0;
  for (std::size_t k = threadIdx.x; k < prototypes.dim; k += blockDim.x) {
    largest = max(largest, fabs(row[k] * inverse));
  }
  const auto scale = static_cast<float>(block_largest(largest) / kLargestInt8);
  double squares = 0;
  for (std::size_t k = threadIdx.x; k < prototypes.shadow_dim; k += blockDim.x) {
    const Int8Element element = round_to_int8(k < prototypes.dim ? row[k] * inverse : 0.0, scale);
    shadow[k] = element.value;
    squares += element.squared_residual;
  }
  squares = block_sum(squares);
  if (threadIdx.x != 0) return;
  prototypes.int8_scales[identity] = scale;
  prototypes.int8_residuals[identity] = static_cast<float>(sqrt(squares) * (1 + 0x1p-19) + 0x1p-40);
}

// Called by all threads of a block for one row [D], whose values they have written before (each
// thread its own elements, as it reads them here).
__device__ inline void write_shadow_row(const PrototypeArrays& prototypes, std::size_t identity,
                                        const float* row, double norm) {
  if (prototypes.int8_shadow != nullptr) {
    write_int8_shadow_row(prototypes, identity, row, norm);
    return;
  }
  __half* shadow = prototypes.shadow + identity * prototypes.shadow_dim;
  const double inverse = 1 / norm;
  for (std::size_t k = threadIdx.x; k < prototypes.shadow_dim; k += blockDim.x) {
    shadow[k] = __float2half_rn(k < prototypes.dim ? static_cast<float>(row[k] * inverse) : 0.0f);
  }
}

// ρ of fp16
__host__ __device__ inline double shadow_residual(std::size_t dim) {
  return 0x1p-11 + 0x1p-22 + sqrt(static_cast<double>(dim)) * 0x1p-25;
}

// Bound of the fp16 filter's error for an embedding whose residual is r.
__host__ __device__ inline double filter_slack(double residual, std::size_t dim) {
  const double accumulation = 1.01 * (static_cast<double>(dim) + 16) * 0x1p-22;
  return residual + (1 + residual) * shadow_residual(dim) + accumulation;
}

// The embedding's own part of the int8 filter's error.
__host__ __device__ inline double int8_filter_slack(double residual) {
  return residual + (1 + residual) * 0x1p-20;
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
