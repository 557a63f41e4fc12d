#pragma once
// What the tensor-core filters multiply: an array of the batch, one of the prototypes (which a
// kernel reads itself, or the host makes maps of), and the instructions of a warp (filter_mma.cu)
// and of a warpgroup (filter_wgmma.cu).

#include "cuda/head/head_arrays.h"
#include "cuda/warp_mma.cuh"
#include "cuda/warpgroup_mma.cuh"
#include "math/host_device.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

struct HalfOperands {
  using Sum = float;
  static constexpr std::size_t kElementBytes = sizeof(__half);
  static constexpr bool kMeasured = false;  // whether classes have a scale and a residual
  static ALPHAMARGIN_HOST_DEVICE const void* rows(const BatchArrays& batch) {
    return batch.half_unit;
  }
  static ALPHAMARGIN_HOST_DEVICE const void* classes(const PrototypeArrays& prototypes) {
    return prototypes.shadow;
  }
  static __device__ void multiply(float (&sums)[4], const MmaA& a, const MmaB& b) {
    mma_m16n8k16(sums, a, b);
  }
  static __device__ void multiply(float (&sums)[kWarpgroupSums], std::uint64_t rows,
                                  std::uint64_t classes, bool accumulates) {
    warpgroup_multiply_half(sums, rows, classes, accumulates);
  }
};

struct Int8Operands {
  using Sum = std::int32_t;
  static constexpr std::size_t kElementBytes = 1;
  static constexpr bool kMeasured = true;
  static ALPHAMARGIN_HOST_DEVICE const void* rows(const BatchArrays& batch) {
    return batch.int8_unit;
  }
  static ALPHAMARGIN_HOST_DEVICE const void* classes(const PrototypeArrays& prototypes) {
    return prototypes.int8_shadow;
  }
  static __device__ void multiply(std::int32_t (&sums)[4], const MmaA& a, const MmaB& b) {
    mma_m16n8k32(sums, a, b);
  }
  static __device__ void multiply(std::int32_t (&sums)[kWarpgroupSums], std::uint64_t rows,
                                  std::uint64_t classes, bool accumulates) {
    warpgroup_multiply_int8(sums, rows, classes, accumulates);
  }
};

struct UpperOperands {
  using Sum = float;
  static constexpr std::size_t kElementBytes = sizeof(std::uint16_t);
  static constexpr bool kMeasured = true;
  static ALPHAMARGIN_HOST_DEVICE const void* rows(const BatchArrays& batch) {
    return batch.upper_unit;
  }
  static ALPHAMARGIN_HOST_DEVICE const void* classes(const PrototypeArrays& prototypes) {
    return prototypes.upper;
  }
  static __device__ void multiply(float (&sums)[4], const MmaA& a, const MmaB& b) {
    mma_m16n8k16_bfloat16(sums, a, b);
  }
  static __device__ void multiply(float (&sums)[kWarpgroupSums], std::uint64_t rows,
                                  std::uint64_t classes, bool accumulates) {
    warpgroup_multiply_bfloat16(sums, rows, classes, accumulates);
  }
};

// body(operands) for what is filtered.
template <class Body>
void with_operands(ShadowFormat format, const Body& body) {
  switch (format) {
    case ShadowFormat::kHalf:
      return body(HalfOperands{});
    case ShadowFormat::kInt8:
      return body(Int8Operands{});
    case ShadowFormat::kUpper:
      return body(UpperOperands{});
  }
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
