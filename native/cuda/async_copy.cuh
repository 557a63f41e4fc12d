#pragma once
// Copies of 16 bytes from global to shared memory that do not wait (cp.async, sm_80). Below sm_80
// they are plain copies.

#include "cuda/dialect.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

__device__ __forceinline__ void copy_async16(void* shared, const void* global) {
#if !defined(__CUDACC__)
  Launch::current().copy_async(shared, global, 16);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" ::"r"(address), "l"(global));
#else
  *static_cast<uint4*>(shared) = *static_cast<const uint4*>(global);
#endif
}

__device__ __forceinline__ void copy_async_commit() {
#if !defined(__CUDACC__)
  Launch::current().copy_async_commit();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;\n");
#endif
}

// Waits until at most `kPending` of this thread's groups are outstanding. Other threads' copies
// need a barrier as well.
template <int kPending>
__device__ __forceinline__ void copy_async_wait() {
#if !defined(__CUDACC__)
  Launch::current().copy_async_wait(kPending);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending));
#endif
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
