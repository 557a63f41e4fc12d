#pragma once
// The part of the CUDA runtime that the backend uses, on the emulated device. Work given to a
// stream runs when something waits for the stream, so a result that is read too early is wrong
// here too.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "emulation/launch_state.h"

namespace alphamargin::emulated {

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchFailure = 719,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };

struct EmulatedStream;
struct EmulatedPool;
using cudaStream_t = EmulatedStream*;
using cudaMemPool_t = EmulatedPool*;

const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMemGetInfo(std::size_t* available, std::size_t* total);

inline constexpr unsigned cudaStreamNonBlocking = 1;
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);

cudaError_t cudaMallocFromPoolAsync(void** memory, std::size_t bytes, cudaMemPool_t pool,
                                    cudaStream_t stream);
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, std::size_t bytes);
cudaError_t cudaMallocHost(void** memory, std::size_t bytes);
cudaError_t cudaFreeHost(void* memory);

cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* target, int value, std::size_t bytes, cudaStream_t stream);

// The message of the fault behind the stream's last error ("" when there was none); names the
// kernel.
const char* last_fault();

// For launch.h and primitives.h: work in the order of the stream.
void enqueue(cudaStream_t stream, std::function<void()> work);
std::uint64_t device_seed();
// How often the host has waited for kernels and copies.
std::uint64_t host_waits();
// Throws DeviceFault naming the kernel and the argument unless [address, address + bytes) lies in
// one live device allocation (null is fine).
void require_device_memory(const char* kernel, const void* address, std::size_t bytes);
// The same for every word of an argument that is the address of mapped memory.
void require_device_pointers(const char* kernel, const void* argument, std::size_t bytes);
// Where the allocation begins that has the address, and its bytes; 0 bytes when there is none.
std::pair<std::uintptr_t, std::size_t> allocation_around(std::uintptr_t address);
// Throws DeviceFault when a kernel has written beyond either end of a live allocation.
void check_guards(const char* kernel);

// Settings of the emulated device, for tests. Process-wide, like a device.
struct DeviceSettings {
  std::uint64_t seed = 0;  // order of blocks, warps and lanes; pattern of uninitialised memory
  std::size_t memory_bytes = std::size_t{8} << 30;
  int compute_capability = 90;  // which tiers of kernels are chosen
  bool stale_bounds = false;    // whether kernels see bounds as they were before they were raised
  bool pinned_memory = true;    // whether cudaMallocHost has any
  // Accesses to memory between two interruptions of a thread on average, where kernels are
  // interpreted (ptx/interpreter.h). 0, and elsewhere: threads switch at barriers and operations of
  // a warp only.
  std::size_t interval = 0;
};
void configure_device(const DeviceSettings& settings);
DeviceSettings device_settings();

}  // namespace alphamargin::emulated
