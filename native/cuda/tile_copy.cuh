#pragma once
// Copies of whole tiles into shared memory (TMA) and the barriers that count their bytes
// (mbarrier), for a cluster of blocks: sm_90a, and the emulated device.
//
// A tile is rows of 128 bytes, swizzled as warpgroup_mma.cuh reads them: 16-byte chunk c of the row
// at address a lies at c ^ (a/128 mod 8). It begins at a multiple of 1024 bytes.

#include "cuda/dialect.h"
#include "cuda/tile_map.h"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define ALPHAMARGIN_HOPPER 1
#endif

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

inline constexpr std::size_t kTileRow = 128;  // bytes
#if !defined(__CUDACC__)
static_assert(kTileRow == kTileRowBytes);
#endif

// A barrier in dynamic shared memory. Its phases alternate between parity 0 and 1; a phase ends
// when all arrivals have come and all announced bytes have been copied.
using PhaseBarrier = std::uint64_t;

#if defined(__CUDACC__)
__device__ __forceinline__ std::uint32_t shared_address(const void* place) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(place));
}
#endif

// By one thread, before init_done().
__device__ __forceinline__ void init_barrier(PhaseBarrier* barrier, unsigned arrivals) {
#if !defined(__CUDACC__)
  Launch::current().engine().init(barrier, arrivals);
#elif defined(ALPHAMARGIN_HOPPER)
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
#endif
}

// The initialised barriers become visible to copies and to the cluster; before cluster_sync().
__device__ __forceinline__ void barriers_are_initialised() {
#if defined(ALPHAMARGIN_HOPPER)
  asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
#endif
}

// Announces bytes and arrives.
__device__ __forceinline__ void arrive_expecting(PhaseBarrier* barrier, std::uint32_t bytes) {
#if !defined(__CUDACC__)
  Launch::current().engine().arrive(barrier, Launch::current().cluster_rank(), bytes);
#elif defined(ALPHAMARGIN_HOPPER)
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
#endif
}

// Arrives at the barrier at the same place of another block of the cluster (or one's own). It
// orders nothing but what the block itself has waited for: with the scope of the cluster the
// compiler would put a fence of the whole device before it.
__device__ __forceinline__ void arrive_at(PhaseBarrier* barrier, unsigned rank) {
#if !defined(__CUDACC__)
  Launch::current().engine().arrive(barrier, rank, 0);
#elif defined(ALPHAMARGIN_HOPPER)
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}\n" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
#else
  static_cast<void>(barrier), static_cast<void>(rank);
#endif
}

// Until the phase of that parity is complete. (With the scope of the cluster the first-level cache
// would be emptied each time.)
__device__ __forceinline__ void wait_phase(PhaseBarrier* barrier, unsigned parity) {
#if !defined(__CUDACC__)
  Launch::current().phase_wait(barrier, parity, Place::current());
#elif defined(ALPHAMARGIN_HOPPER)
  asm volatile(
      "{\n"
      ".reg .pred complete;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 complete, [%0], %1;\n"
      "@!complete bra again;\n"
      "}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
#else
  static_cast<void>(barrier), static_cast<void>(parity);
#endif
}

// A tile of the map, from (row, byte `column`), to the same place of the first `kBlocks` blocks of
// the cluster, and its bytes to their barriers at the same place. By one thread.
template <unsigned kBlocks = 1>
__device__ __forceinline__ void copy_tile(void* target, const TileMap& map, std::size_t column,
                                          std::size_t row, PhaseBarrier* barrier) {
  constexpr unsigned kRanks = (1u << kBlocks) - 1;
#if !defined(__CUDACC__)
  Launch& launch = Launch::current();
  launch.engine().copy_tile(target, map, column, row, barrier,
                            kBlocks == 1 ? 1u << launch.cluster_rank() : kRanks);
#elif defined(ALPHAMARGIN_HOPPER)
  const auto first_byte = static_cast<std::int32_t>(column);
  const auto first_row = static_cast<std::int32_t>(row);
  if constexpr (kBlocks == 1) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
        " [%0], [%1, {%2, %3}], [%4];\n" ::"r"(shared_address(target)),
        "l"(&map), "r"(first_byte), "r"(first_row), "r"(shared_address(barrier))
        : "memory");
  } else {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
        ".multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;\n" ::"r"(shared_address(target)),
        "l"(&map), "r"(first_byte), "r"(first_row), "r"(shared_address(barrier)),
        "h"(static_cast<std::uint16_t>(kRanks))
        : "memory");
  }
#else
  static_cast<void>(target), static_cast<void>(map), static_cast<void>(column);
  static_cast<void>(row), static_cast<void>(barrier), static_cast<void>(kRanks);
#endif
}

__device__ __forceinline__ unsigned cluster_rank() {
#if !defined(__CUDACC__)
  return Launch::current().cluster_rank();
#elif defined(ALPHAMARGIN_HOPPER)
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;\n" : "=r"(rank));
  return rank;
#else
  return 0;
#endif
}

// A barrier of all threads of the cluster.
__device__ __forceinline__ void cluster_sync() {
#if !defined(__CUDACC__)
  Launch::current().cluster_barrier(Place::current());
#elif defined(ALPHAMARGIN_HOPPER)
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;\n" ::
          : "memory");
#endif
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
