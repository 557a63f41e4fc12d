#pragma once
// Device-wide sort, scan and select: CUB on a GPU, the standard library on the emulated device.
// All of them are deterministic. Compiled once, in primitives.cu: CUB takes longer than our
// kernels.

#include <cstddef>
#include <cstdint>

#include "cuda/device_context.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// An array and another of its length that an operation may use; it may swap them.
template <class T>
struct WithSpare {
  DeviceBuffer<T> own;
  DeviceBuffer<T> spare;

  WithSpare(DeviceContext& context, MemoryAccount& scratch, std::size_t count)
      : own(context, scratch, count), spare(context, scratch, count) {}
};

// Stable sort of (key, value) pairs by the lowest `bits` bits of the key, in place.
void sort_pairs(DeviceContext& context, MemoryAccount& scratch, WithSpare<std::uint32_t>& keys,
                WithSpare<std::uint64_t>& values, int bits);

// sums[i] = values[0] + … + values[i − 1].
void exclusive_sum(DeviceContext& context, MemoryAccount& scratch, const std::uint32_t* values,
                   std::uint64_t* sums, std::size_t count);
void exclusive_sum(DeviceContext& context, MemoryAccount& scratch, const std::uint64_t* values,
                   std::uint64_t* sums, std::size_t count);

// The indices i < count with flags[i] ≠ 0, ascending, and how many there are.
void select_indices(DeviceContext& context, MemoryAccount& scratch, const std::uint8_t* flags,
                    std::uint32_t* selected, std::uint32_t* selected_count, std::size_t count);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
