// See primitives.h. The emulated device runs them as work of the stream, like kernels.

#include <utility>

#include "cuda/primitives.h"

#if defined(__CUDACC__)
#include <thrust/iterator/counting_iterator.h>

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#include <cub/device/device_select.cuh>
#include <cuda/std/functional>
#else
#include <algorithm>
#include <numeric>
#include <vector>
#endif

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

#if defined(__CUDACC__)
// CUB's two calls: the first asks for the scratch it needs.
template <class Operation>
void with_cub_scratch(DeviceContext& context, MemoryAccount& scratch, const char* what,
                      const Operation& operation) {
  std::size_t bytes = 0;
  check(operation(nullptr, bytes), what);
  DeviceBuffer<unsigned char> memory(context, scratch, bytes == 0 ? 1 : bytes);
  check(operation(memory.data(), bytes), what);
}
#endif

template <class In, class Out>
void scan(DeviceContext& context, MemoryAccount& scratch, const In* values, Out* sums,
          std::size_t count) {
  if (count == 0) return;
#if defined(__CUDACC__)
  with_cub_scratch(context, scratch, "scanning", [&](void* memory, std::size_t& bytes) {
    return cub::DeviceScan::ExclusiveScan(memory, bytes, values, sums, ::cuda::std::plus<>{},
                                          Out{0}, static_cast<std::int64_t>(count),
                                          context.stream());
  });
#else
  static_cast<void>(scratch);
  enqueue(context.stream(), [=] {
    require_device_memory("exclusive_sum", values, count * sizeof(In));
    require_device_memory("exclusive_sum", sums, count * sizeof(Out));
    Out sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const Out value = static_cast<Out>(values[i]);
      sums[i] = sum;
      sum += value;
    }
  });
#endif
}

}  // namespace

void sort_pairs(DeviceContext& context, MemoryAccount& scratch, WithSpare<std::uint32_t>& keys,
                WithSpare<std::uint64_t>& values, int bits) {
  const std::size_t count = keys.own.size();
  if (count == 0) return;
#if defined(__CUDACC__)
  // With buffers to alternate between CUB needs no copy of its own.
  cub::DoubleBuffer<std::uint32_t> key_buffers(keys.own.data(), keys.spare.data());
  cub::DoubleBuffer<std::uint64_t> value_buffers(values.own.data(), values.spare.data());
  with_cub_scratch(context, scratch, "sorting", [&](void* memory, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortPairs(memory, bytes, key_buffers, value_buffers,
                                           static_cast<std::int64_t>(count), 0, bits,
                                           context.stream());
  });
  if (key_buffers.Current() != keys.own.data()) std::swap(keys.own, keys.spare);
  if (value_buffers.Current() != values.own.data()) std::swap(values.own, values.spare);
#else
  static_cast<void>(scratch);
  const auto run = [count, bits, key = keys.own.data(), sorted_key = keys.spare.data(),
                    value = values.own.data(), sorted_value = values.spare.data()] {
    require_device_memory("sort_pairs", key, count * sizeof *key);
    require_device_memory("sort_pairs", sorted_key, count * sizeof *sorted_key);
    require_device_memory("sort_pairs", value, count * sizeof *value);
    require_device_memory("sort_pairs", sorted_value, count * sizeof *sorted_value);
    const std::uint32_t mask = bits >= 32 ? ~0u : (1u << bits) - 1;
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return (key[a] & mask) < (key[b] & mask);
    });
    for (std::size_t i = 0; i < count; ++i) {
      sorted_key[i] = key[order[i]];
      sorted_value[i] = value[order[i]];
    }
  };
  enqueue(context.stream(), run);
  std::swap(keys.own, keys.spare);
  std::swap(values.own, values.spare);
#endif
}

void exclusive_sum(DeviceContext& context, MemoryAccount& scratch, const std::uint32_t* values,
                   std::uint64_t* sums, std::size_t count) {
  scan(context, scratch, values, sums, count);
}
void exclusive_sum(DeviceContext& context, MemoryAccount& scratch, const std::uint64_t* values,
                   std::uint64_t* sums, std::size_t count) {
  scan(context, scratch, values, sums, count);
}

void select_indices(DeviceContext& context, MemoryAccount& scratch, const std::uint8_t* flags,
                    std::uint32_t* selected, std::uint32_t* selected_count, std::size_t count) {
  if (count == 0) {
    context.fill_bytes(selected_count, 0, sizeof *selected_count);
    return;
  }
#if defined(__CUDACC__)
  const thrust::counting_iterator<std::uint32_t> indices(0);
  with_cub_scratch(context, scratch, "selecting", [&](void* memory, std::size_t& bytes) {
    return cub::DeviceSelect::Flagged(memory, bytes, indices, flags, selected, selected_count,
                                      static_cast<std::int64_t>(count), context.stream());
  });
#else
  static_cast<void>(scratch);
  enqueue(context.stream(), [=] {
    require_device_memory("select_indices", flags, count);
    require_device_memory("select_indices", selected_count, sizeof *selected_count);
    std::uint32_t kept = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (flags[i] != 0) selected[kept++] = static_cast<std::uint32_t>(i);
    }
    *selected_count = kept;
  });
#endif
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
