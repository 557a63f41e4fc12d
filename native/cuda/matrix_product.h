#pragma once
// out [M, N] = left [M, K] · right [K, N] on the device, in float32.
//
// Accumulation: float32 over ascending k inside blocks of 64 (128 on the CPU), blocks in float64;
// an element does not depend on its place in a tile. Traffic: tiles of 64 × 64 through shared
// memory; each operand is read once per tile of the other. On tensor cores: pair_product.h.

#include "cuda/device_context.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// A matrix as it lies in device memory. With `transposed`, stored rows are the matrix's columns.
struct DeviceOperand {
  const float* data;
  std::size_t stride;  // floats between stored rows
  std::int64_t transposed = 0;
  const float* row_factors = nullptr;  // one for each stored row; nullptr: all 1

  __device__ float at(std::size_t row, std::size_t column) const {
    const std::size_t stored = transposed != 0 ? column : row;
    const float value = data[stored * stride + (transposed != 0 ? row : column)];
    return row_factors == nullptr ? value : value * row_factors[stored];
  }
};

struct ProductShape {
  std::size_t rows;     // M
  std::size_t inner;    // K
  std::size_t columns;  // N
};

void matrix_product(DeviceContext& context, const DeviceOperand& left, const DeviceOperand& right,
                    const ProductShape& shape, float* out);

// sums [M, N] += left · right, in float64: block after block of 64, so that it is not to be seen
// whether K came in one call or in several (of whole blocks).
void add_matrix_product(DeviceContext& context, const DeviceOperand& left,
                        const DeviceOperand& right, const ProductShape& shape, double* sums);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
