#pragma once
// Reductions over the threads of a block, with the result in every thread. The order of the
// operations is fixed (a butterfly in each warp, then the warps in order), so a sum has the same
// bits on every run.
//
// Every thread of the block calls them; blocks are one-dimensional, a multiple of 32 threads.

#include "cuda/dialect.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

inline constexpr unsigned kMostWarps = 32;

struct SumOf {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct LargestOf {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};
struct SmallestOf {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};

template <class Combine, class T>
__device__ T warp_reduce(T value) {
  const Combine combine;
  for (int offset = 16; offset > 0; offset /= 2) {
    value = combine(value, __shfl_xor_sync(kFullMask, value, offset));
  }
  return value;
}

template <class Combine, class T>
__device__ T block_reduce(T value) {
  ALPHAMARGIN_SHARED(T, partial, kMostWarps);
  const Combine combine;
  value = warp_reduce<Combine>(value);
  __syncthreads();  // an earlier call may still be read
  if (threadIdx.x % kWarpSize == 0) partial[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  value = partial[0];
  for (unsigned warp = 1; warp < blockDim.x / kWarpSize; ++warp) {
    value = combine(value, partial[warp]);
  }
  return value;
}

template <class T>
__device__ T block_sum(T value) {
  return block_reduce<SumOf>(value);
}
template <class T>
__device__ T block_largest(T value) {
  return block_reduce<LargestOf>(value);
}
template <class T>
__device__ T block_smallest(T value) {
  return block_reduce<SmallestOf>(value);
}
__device__ inline bool block_any(bool value) { return block_reduce<LargestOf>(value ? 1 : 0) != 0; }

// Sum over the threads before this one, and over all of them.
struct BlockOffsets {
  unsigned before;
  unsigned total;
};
__device__ inline BlockOffsets block_offsets(unsigned value) {
  ALPHAMARGIN_SHARED(unsigned, warp_totals, kMostWarps);
  const unsigned lane = threadIdx.x % kWarpSize;
  const unsigned warp = threadIdx.x / kWarpSize;
  unsigned inclusive = value;
  for (unsigned offset = 1; offset < kWarpSize; offset *= 2) {
    const unsigned other = __shfl_up_sync(kFullMask, inclusive, offset);
    if (lane >= offset) inclusive += other;
  }
  __syncthreads();
  if (lane == kWarpSize - 1) warp_totals[warp] = inclusive;
  __syncthreads();
  BlockOffsets result{inclusive - value, 0};
  for (unsigned w = 0; w < blockDim.x / kWarpSize; ++w) {
    if (w < warp) result.before += warp_totals[w];
    result.total += warp_totals[w];
  }
  return result;
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
