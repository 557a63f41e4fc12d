#pragma once
// Per-row lists of candidates, by one block: sorting, and dropping entries in order.

#include "cuda/block_reduce.cuh"
#include "cuda/head/filter.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// Sorts fewer than 2^31 items in place by `before`, a total order: bitonic in the form whose
// comparators all point the same way, so that places beyond the count act as larger than
// everything. Called by all threads.
template <class Item, class Before>
__device__ void block_sort(Item* list, std::size_t count, const Before& before) {
  unsigned bits = 0;
  while (std::size_t{1} << bits < count) ++bits;
  const unsigned comparators = bits == 0 ? 0 : 1u << (bits - 1);
  for (unsigned merge = 1; merge <= bits; ++merge) {
    for (unsigned bit = merge; bit-- > 0;) {
      const unsigned stride = 1u << bit;
      __syncthreads();
      for (unsigned i = threadIdx.x; i < comparators; i += blockDim.x) {
        // The first pass of a merge compares mirrored places, the others shifted ones.
        const unsigned low = (i >> bit << (bit + 1)) | (i & (stride - 1));
        const unsigned high = bit + 1 == merge ? low ^ (2 * stride - 1) : low + stride;
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

// Sorts a list by identity: one that fits there in shared memory, as numbers of 64 bits. `room`
// holds kSharedCandidates. Called by all threads.
inline constexpr std::size_t kSharedCandidates = 2048;
__device__ inline void sort_by_identity(Candidate* list, std::size_t count, std::uint64_t* room) {
  if (count > kSharedCandidates) {
    block_sort(list, count, ByIdentity{});
    return;
  }
  for (std::size_t i = threadIdx.x; i < count; i += blockDim.x) {
    room[i] = static_cast<std::uint64_t>(list[i].identity) << 32 | __float_as_uint(list[i].cosine);
  }
  block_sort(room, count, [](std::uint64_t a, std::uint64_t b) { return a < b; });
  for (std::size_t i = threadIdx.x; i < count; i += blockDim.x) {
    list[i] = {static_cast<std::int32_t>(room[i] >> 32),
               __uint_as_float(static_cast<std::uint32_t>(room[i]))};
  }
  __syncthreads();
}

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
