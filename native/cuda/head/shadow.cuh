#pragma once
// What the filter reads, and what its rounding costs.
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
//
// Upper halves. x̃: x̂ rounded to bfloat16; w̃ = s_w·u with the bfloat16 upper half u of w as it is
// and s_w = 1/‖w‖. Errors as for int8, with the sum's own (above) in the row's slack. Numbers below
// 2^-126 and products below it count as lost, 2 D 2^-126/‖w‖ in the class's residual.

#include "cuda/head/head_arrays.h"
#include "cuda/head/prototype_row.cuh"
#include "cuda/thread_group.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

inline constexpr double kLargestInt8 = 127;
// Sums of D products of int8 fit 32 bits up to here.
inline constexpr std::size_t kLargestInt8Dim = std::size_t{1} << 17;

// One element of a row, and what rounding it costs.
struct Int8Element {
  std::int8_t value;
  double residual;
};
__device__ inline Int8Element round_to_int8(double exact, float scale) {
  const double steps = scale > 0 ? exact / static_cast<double>(scale) : 0;
  const double whole = rint(steps > kLargestInt8    ? kLargestInt8
                            : steps < -kLargestInt8 ? -kLargestInt8
                                                    : steps);
  return {static_cast<std::int8_t>(whole), exact - whole * static_cast<double>(scale)};
}

// Of a class whose rounding is measured; called by one thread.
__device__ inline void write_rounding(const PrototypeArrays& prototypes, std::size_t identity,
                                      double scale, double residual) {
  prototypes.scales[identity] = static_cast<float>(scale);
  prototypes.residuals[identity] = static_cast<float>(residual * (1 + 0x1p-19) + 0x1p-40);
}

template <class Group, class Row>
__device__ void write_int8_shadow_row(const PrototypeArrays& prototypes, std::size_t identity,
                                      const Row& row, double norm) {
  std::int8_t* shadow = prototypes.int8_shadow + identity * prototypes.shadow_dim;
  const double inverse = 1 / norm;
  double largest = 0;
  for (std::size_t k = Group::rank(); k < prototypes.dim; k += Group::size()) {
    largest = max(largest, fabs(row[k] * inverse));
  }
  const auto scale = static_cast<float>(Group::largest(largest) / kLargestInt8);
  double squares = 0;
  for (std::size_t k = Group::rank(); k < prototypes.shadow_dim; k += Group::size()) {
    const Int8Element element = round_to_int8(k < prototypes.dim ? row[k] * inverse : 0.0, scale);
    shadow[k] = element.value;
    squares += element.residual * element.residual;
  }
  squares = Group::sum(squares);
  if (Group::rank() == 0) write_rounding(prototypes, identity, scale, sqrt(squares));
}

// The upper halves are there with the row.
template <class Group, class Row>
__device__ void measure_upper_row(const PrototypeArrays& prototypes, std::size_t identity,
                                  const Row& row, double norm) {
  double squares = 0;
  for (std::size_t k = Group::rank(); k < prototypes.dim; k += Group::size()) {
    const float value = row[k];
    const double rest = static_cast<double>(value) - bfloat16_value(upper_half(value));
    squares += rest * rest;
  }
  squares = Group::sum(squares);
  if (Group::rank() != 0) return;
  const double lost = 0x1p-125 * static_cast<double>(prototypes.dim);
  write_rounding(prototypes, identity, 1 / norm, (sqrt(squares) + lost) / norm);
}

// What the filter reads of a row [D]; called by all threads of a group, which have written its
// values before (each thread its own elements, as it reads them here).
template <class Group, class Row>
__device__ void write_shadow_row(const PrototypeArrays& prototypes, std::size_t identity,
                                 const Row& row, double norm) {
  switch (prototypes.format()) {
    case ShadowFormat::kInt8:
      write_int8_shadow_row<Group>(prototypes, identity, row, norm);
      return;
    case ShadowFormat::kUpper:
      measure_upper_row<Group>(prototypes, identity, row, norm);
      return;
    case ShadowFormat::kHalf:
      break;
  }
  __half* shadow = prototypes.shadow + identity * prototypes.shadow_dim;
  const double inverse = 1 / norm;
  for (std::size_t k = Group::rank(); k < prototypes.shadow_dim; k += Group::size()) {
    shadow[k] = __float2half_rn(k < prototypes.dim ? static_cast<float>(row[k] * inverse) : 0.0f);
  }
}

// ρ of fp16
__host__ __device__ inline double shadow_residual(std::size_t dim) {
  return 0x1p-11 + 0x1p-22 + sqrt(static_cast<double>(dim)) * 0x1p-25;
}

// Of a sum of D products of rows whose lengths are near 1.
__host__ __device__ inline double accumulation_slack(std::size_t dim) {
  return 1.01 * (static_cast<double>(dim) + 16) * 0x1p-22;
}

// An embedding's own part of the filter's error, given its residual r; with fp16 all of it.
__host__ __device__ inline double filter_slack(ShadowFormat format, double residual,
                                               std::size_t dim) {
  switch (format) {
    case ShadowFormat::kInt8:
      return residual + (1 + residual) * 0x1p-20;
    case ShadowFormat::kUpper:
      return residual + (1 + residual) * (0x1p-20 + accumulation_slack(dim));
    case ShadowFormat::kHalf:
      break;
  }
  return residual + (1 + residual) * shadow_residual(dim) + accumulation_slack(dim);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
