#pragma once
// The threads that work on one thing together: all of a block, or a warp.

#include "cuda/block_reduce.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

struct BlockGroup {
  static __device__ unsigned rank() { return threadIdx.x; }
  static __device__ unsigned size() { return blockDim.x; }
  template <class T>
  static __device__ T sum(T value) {
    return block_sum(value);
  }
  template <class T>
  static __device__ T largest(T value) {
    return block_largest(value);
  }
};

struct WarpGroup {
  static __device__ unsigned rank() { return threadIdx.x % kWarpSize; }
  static __device__ unsigned size() { return kWarpSize; }
  template <class T>
  static __device__ T sum(T value) {
    return warp_reduce<SumOf>(value);
  }
  template <class T>
  static __device__ T largest(T value) {
    return warp_reduce<LargestOf>(value);
  }
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
