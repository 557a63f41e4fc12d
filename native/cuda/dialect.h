#pragma once
// Our kernels compile twice: by nvcc for GPUs, in the namespace `cuda`, and as plain C++ for the
// emulated device, in the namespace `emulated`. This header is the one place that knows.

#include <cmath>
#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define ALPHAMARGIN_DEVICE_NAMESPACE cuda
#define ALPHAMARGIN_SHARED(type, name, count) __shared__ type name[count]
#define ALPHAMARGIN_DYNAMIC_SHARED(type, name)                    \
  extern __shared__ __align__(1024) unsigned char name##_bytes[]; \
  type* name = reinterpret_cast<type*>(name##_bytes)
#else
#include "emulation/cuda_dialect.h"
#include "emulation/runtime_api.h"

#define ALPHAMARGIN_DEVICE_NAMESPACE emulated
#endif

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

#if defined(__CUDACC__)
inline constexpr bool kEmulated = false;
#else
inline constexpr bool kEmulated = true;
#endif

inline constexpr unsigned kWarpSize = 32;
inline constexpr unsigned kFullMask = 0xffffffffu;

// A bound that may have been raised since: who sees an older one lets more through, and nothing
// less. The emulated device can be told to show old ones.
__device__ inline float seen_bound(const float* bound) {
#if !defined(__CUDACC__)
  if (device_settings().stale_bounds && *bound < INFINITY && Launch::current().next_random() % 2) {
    return -INFINITY;
  }
#endif
  return *bound;
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
