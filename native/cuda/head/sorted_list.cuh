#pragma once
// Per-row lists of candidates, by one block: sorting, and dropping entries in order.

#include "cuda/block_reduce.cuh"
#include "cuda/head/filter.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// Sorts in place by `before`, a total order: bitonic in the form whose comparators all point the
// same way, so that places beyond the count act as larger than everything. Called by all threads.
template <class Item, class Before>
__device__ void block_sort(Item* list, std::size_t count, const Before& before) {
  std::size_t whole = 1;
  while (whole < count) whole *= 2;
  for (std::size_t size = 2; size <= whole; size *= 2) {
    for (std::size_t stride = size / 2; stride > 0; stride /= 2) {
      __syncthreads();
      for (std::size_t i = threadIdx.x; i < whole / 2; i += blockDim.x) {
        // The first pass of a merge compares mirrored places, the others shifted ones.
        const std::size_t low = i / stride * 2 * stride + i % stride;
        const std::size_t high =
            stride == size / 2 ? i / stride * size + size - 1 - i % stride : low + stride;
        if (high >= count) continue;
        const Item a = list[low];
        const Item b = list[high];
        if (!before(b, a)) continue;
        list[low] = b;
        list[high] = a;
      }
    }
  }
  __syncthreads();
}

struct ByIdentity {
  __device__ bool operator()(const Candidate& a, const Candidate& b) const {
    return a.identity < b.identity;
  }
};

// Largest cosine first, ties to the smaller identity.
struct ByCosine {
  template <class Item>
  __device__ bool operator()(const Item& a, const Item& b) const {
    return a.cosine != b.cosine ? a.cosine > b.cosine : a.identity < b.identity;
  }
};

// Keeps the entries for which keep(entry) holds, in their order; returns how many. Called by all
// threads.
template <class Keep>
__device__ std::size_t block_compact(Candidate* list, std::size_t count, const Keep& keep) {
  std::size_t kept = 0;
  for (std::size_t first = 0; first < count; first += blockDim.x) {
    const std::size_t i = first + threadIdx.x;
    Candidate own{};
    bool stays = false;
    if (i < count) {
      own = list[i];
      stays = keep(own);
    }
    // Its barriers part the reads above from the writes below; kept + before ≤ first + thread.
    const BlockOffsets offsets = block_offsets(stays ? 1 : 0);
    if (stays) list[kept + offsets.before] = own;
    kept += offsets.total;
  }
  __syncthreads();
  return kept;
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
