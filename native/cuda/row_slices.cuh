#pragma once
// Rows of [B, C] arrays are cut into slices of classes, a block each, so that a few long rows use a
// whole device. Slices depend on C alone; what the blocks of a row find out is combined in the
// order of the slices, so results do not depend on B or on who ran first.

#include <vector>

#include "cuda/block_reduce.cuh"
#include "cuda/first_bad_row.h"
#include "cuda/launch.h"
#include "cuda/transfer.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

inline constexpr unsigned kRowThreads = 128;
inline constexpr std::size_t kSliceClasses = 8192;

// The cut of a matrix [rows, classes].
struct RowSlices {
  std::size_t rows;
  std::size_t classes;
  std::size_t slices;  // of each row

  static RowSlices of(std::size_t rows, std::size_t classes) {
    return {rows, classes, (classes + kSliceClasses - 1) / kSliceClasses};
  }
  std::size_t count() const { return rows * slices; }
  LaunchShape shape() const {
    return {dim3(static_cast<unsigned>(rows), static_cast<unsigned>(slices)), kRowThreads};
  }
  __device__ std::size_t row() const { return blockIdx.x; }
  // Place of this block's slice among those of all rows.
  __device__ std::size_t place() const { return row() * slices + blockIdx.y; }
  __device__ std::size_t begin() const { return std::size_t{blockIdx.y} * kSliceClasses; }
  __device__ std::size_t end() const {
    const std::size_t last = begin() + kSliceClasses;
    return last < classes ? last : classes;
  }
};

// Elements of a float32 or float16 matrix, as kernels read them.
struct Elements {
  const float* single;
  const __half* half;
  static Elements of(const DeviceMatrix& matrix) { return {matrix.single(), matrix.half()}; }
  __device__ float at(std::size_t i) const {
    return single != nullptr ? single[i] : __half2float(half[i]);
  }
};

// A row of a matrix as float32 in host memory; synchronises.
inline std::vector<float> fetch_row(DeviceContext& context, const DeviceMatrix& matrix,
                                    std::size_t row) {
  const std::size_t columns = matrix.columns();
  std::vector<float> values(columns);
  if (!matrix.is_half()) {
    context.download(values.data(), matrix.single() + row * columns, columns * sizeof(float));
    context.synchronize();
    return values;
  }
  std::vector<std::uint16_t> bits(columns);
  context.download(bits.data(), matrix.half() + row * columns, columns * sizeof(std::uint16_t));
  context.synchronize();
  for (std::size_t j = 0; j < columns; ++j) values[j] = half_to_float(bits[j]);
  return values;
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
