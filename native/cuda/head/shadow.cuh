#pragma once
// The low-precision copies that the filter reads, and what their rounding costs.
//
//   x̃, w̃: unit vectors rounded to float32, then to fp16, padded with zeros along D.
//   |x̃·w̃ − x̂·ŵ| ≤ r + (1 + r) ρ,  r = ‖x̂ − x̃‖ (measured),  ρ ≥ ‖ŵ − w̃‖ for any prototype
//
// fp16 rounds a normal number by at most 2^-11 of itself and a subnormal one by at most 2^-25;
// float32 adds 2^-24. Hence ρ = 2^-11 + 2^-22 + √D·2^-25. A sum of D products of fp16 numbers in
// float32 is off by at most D·2^-22 Σ|x̃_k w̃_k| even where tensor cores truncate instead of round
// (they align to the largest addend with at least 23 bits), and Σ|x̃_k w̃_k| ≤ ‖x̃‖‖w̃‖ ≤ 1.01.

#include "cuda/head/head_arrays.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// Called by all threads of a block for one row, whose values they have written before (each thread
// its own elements, as it reads them here).
__device__ inline void write_shadow_row(const PrototypeArrays& prototypes, std::size_t identity,
                                        double norm) {
  const float* row = prototypes.rows + identity * prototypes.dim;
  __half* shadow = prototypes.shadow + identity * prototypes.shadow_dim;
  const double inverse = 1 / norm;
  for (std::size_t k = threadIdx.x; k < prototypes.shadow_dim; k += blockDim.x) {
    shadow[k] = __float2half_rn(k < prototypes.dim ? static_cast<float>(row[k] * inverse) : 0.0f);
  }
}

// ρ
__host__ __device__ inline double shadow_residual(std::size_t dim) {
  return 0x1p-11 + 0x1p-22 + sqrt(static_cast<double>(dim)) * 0x1p-25;
}

// Bound of the filter's error for an embedding whose residual is r.
__host__ __device__ inline double filter_slack(double residual, std::size_t dim) {
  const double accumulation = 1.01 * (static_cast<double>(dim) + 16) * 0x1p-22;
  return residual + (1 + residual) * shadow_residual(dim) + accumulation;
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
