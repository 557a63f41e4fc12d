// The filter on the tensor cores of Hopper (wgmma, TMA; sm_90a), with fp16 operands.
//
// A block keeps 128 rows of the batch and walks over tiles of 256 classes (persistent grid). Three
// warpgroups with a part each: one thread of the first brings the tiles in, in slabs of 64 elements
// of D, several stages deep; the other two multiply 64 rows each with the same slabs. The rows are
// resident in shared memory for D up to 512, and come with every slab beyond. Blocks of a cluster
// have different rows and the same classes: each brings its part of a slab to all of them, so that
// the shadow passes the second-level cache once for 256 rows.
//
//   full[stage]   the bytes of a slab, from all blocks of the cluster
//   empty[stage]  all warps of all blocks that read it: theirs is the slab that is overwritten
//
// The warpgroups do not wait for each other: while one compares, the other multiplies, up to as
// many slabs ahead as there are stages.
//
// Epilogue, in registers: the largest of a row's 64 cosines in a thread against the row's bound;
// only where it passes are they looked at one by one. The four threads of a row count together and
// take room in its list with one atomic. Nothing waits for another block but the stages.

#include <algorithm>

#include "cuda/head/filter.h"
#include "cuda/launch.h"
#include "cuda/tile_map.h"
#include "cuda/warpgroup_mma.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kWarpgroup = 4 * kWarpSize;
constexpr unsigned kConsumers = 2;
constexpr unsigned kThreads = (1 + kConsumers) * kWarpgroup;
constexpr unsigned kRows = kConsumers * kWarpgroupRows;
constexpr unsigned kClasses = kWarpgroupColumns;
constexpr unsigned kSlabColumns = kTileRow / sizeof(__half);
constexpr std::size_t kRowBytes = kRows * kTileRow;       // of a slab of the batch
constexpr std::size_t kClassBytes = kClasses * kTileRow;  // of a slab of the classes
constexpr unsigned kMostStages = 4;
constexpr std::size_t kMostResidentSlabs = 8;
// What a block may have on sm_90.
constexpr std::size_t kMostSharedBytes = std::size_t{227} << 10;
// 64 Ki registers: the producer gives up what the two multiplying warpgroups take.
constexpr unsigned kProducerRegisters = 40;
constexpr unsigned kConsumerRegisters = 232;
static_assert((kProducerRegisters + kConsumers * kConsumerRegisters) * kWarpgroup <= 65536);

struct Barriers {
  PhaseBarrier rows;
  PhaseBarrier full[kMostStages];
  PhaseBarrier empty[kMostStages];
};

// Shared memory: resident rows, stages (classes, then rows that are not resident), barriers.
template <bool kResident>
struct Layout {
  static constexpr std::size_t kStageBytes = kClassBytes + (kResident ? 0 : kRowBytes);

  std::size_t slabs;

  __host__ __device__ std::size_t row_bytes() const { return kResident ? slabs * kRowBytes : 0; }
  __host__ __device__ std::size_t stages() const {
    const std::size_t room = kMostSharedBytes - sizeof(Barriers) - row_bytes();
    return min(std::size_t{kMostStages}, room / kStageBytes);
  }
  __host__ __device__ std::size_t barriers() const { return row_bytes() + stages() * kStageBytes; }
  std::size_t bytes() const { return barriers() + sizeof(Barriers); }
};
static_assert(kMostSharedBytes - sizeof(Barriers) >=
              kMostResidentSlabs * kRowBytes + 3 * kClassBytes);

template <unsigned kCluster, bool kResident>
struct Pipeline {
  static constexpr std::size_t kStageBytes = Layout<kResident>::kStageBytes;

  // Where in the ring of stages one is.
  struct Place {
    unsigned stage = 0;
    unsigned parity = 0;

    __device__ __forceinline__ void advance(std::size_t stages) {
      if (++stage < stages) return;
      stage = 0;
      parity ^= 1u;
    }
  };

  unsigned char* rows;    // [slabs][128 rows][128 bytes] if resident
  unsigned char* stages;  // [stages][256 classes][128 bytes], and rows as above if not
  Barriers* barriers;
  std::size_t slabs;
  std::size_t stage_count;
  std::size_t first_row;
  std::size_t begin;
  std::size_t end;

  __device__ std::size_t tiles() const { return (end - begin + kClasses - 1) / kClasses; }

  // By one thread.
  __device__ void produce(const TileMap& row_map, const TileMap& class_map) const {
    constexpr unsigned kShare = kClasses / kCluster;
    const unsigned rank = cluster_rank();
    if constexpr (kResident) {
      arrive_expecting(&barriers->rows, static_cast<std::uint32_t>(slabs * kRowBytes));
#pragma unroll 1
      for (std::size_t slab = 0; slab < slabs; ++slab) {
        copy_tile(rows + slab * kRowBytes, row_map, slab * kTileRow, first_row, &barriers->rows);
      }
    }
    Place place;
    for (std::size_t tile = blockIdx.y; tile < tiles(); tile += gridDim.y) {
      const std::size_t first = begin + tile * kClasses + rank * kShare;
#pragma unroll 1
      for (std::size_t slab = 0; slab < slabs; ++slab) {
        unsigned char* const stage = stages + place.stage * kStageBytes;
        PhaseBarrier* const full = &barriers->full[place.stage];
        wait_phase(&barriers->empty[place.stage], place.parity ^ 1u);
        arrive_expecting(full, kStageBytes);
        copy_tile<kCluster>(stage + rank * kShare * kTileRow, class_map, slab * kTileRow, first,
                            full);
        if constexpr (!kResident) {
          copy_tile(stage + kClassBytes, row_map, slab * kTileRow, first_row, full);
        }
        place.advance(stage_count);
      }
    }
  }

  // A stage is this warp's no longer.
  __device__ void release(unsigned stage) const {
    if (threadIdx.x % kWarpSize != 0) return;
    for (unsigned rank = 0; rank < kCluster; ++rank) arrive_at(&barriers->empty[stage], rank);
  }

  // The cosines of 64 rows with a tile.
  __device__ void multiply(float (&sums)[kWarpgroupSums], unsigned group, Place& place) const {
    if constexpr (kResident) wait_phase(&barriers->rows, 0);
    unsigned before = 0;
#pragma unroll 1
    for (std::size_t slab = 0; slab < slabs; ++slab) {
      wait_phase(&barriers->full[place.stage], place.parity);
      const unsigned char* const stage = stages + place.stage * kStageBytes;
      const unsigned char* const slab_rows =
          kResident ? rows + slab * kRowBytes : stage + kClassBytes;
      const std::uint64_t left = warpgroup_operand(slab_rows + group * kWarpgroupRows * kTileRow);
      const std::uint64_t right = warpgroup_operand(stage);
      warpgroup_begin();
#pragma unroll
      for (unsigned step = 0; step < kTileRow / kWarpgroupDepthBytes; ++step) {
        warpgroup_multiply(sums, left + step * (kWarpgroupDepthBytes / 16),
                           right + step * (kWarpgroupDepthBytes / 16), slab > 0 || step > 0);
      }
      warpgroup_commit();
      // The slab before has been read once at most the last one is pending.
      if (slab > 0) {
        warpgroup_wait<1>();
        release(before);
      }
      before = place.stage;
      place.advance(stage_count);
    }
    warpgroup_wait<0>();
    release(before);
  }
};

// What a thread knows of its two rows.
struct RowLimits {
  float bounds[2];
  std::int32_t labels[2];
  std::size_t rows[2];
};

[[maybe_unused]] __device__ __forceinline__ void keep_survivors(const float (&sums)[kWarpgroupSums],
                                                                const RowLimits& limits,
                                                                const CandidateArrays& candidates,
                                                                std::size_t first_class,
                                                                std::size_t end) {
  constexpr unsigned kOfRow = kWarpgroupSums / 2;
  constexpr unsigned kThreadsOfRow = 4;
  const unsigned member = threadIdx.x % kThreadsOfRow;
#pragma unroll
  for (unsigned half = 0; half < 2; ++half) {
    const float bound = limits.bounds[half];
    float largest = sums[2 * half];
#pragma unroll
    for (unsigned i = 1; i < kOfRow; ++i) {
      largest = max(largest, sums[4 * (i / 2) + 2 * half + i % 2]);
    }
    if (!__any_sync(kFullMask, largest > bound)) continue;
    const auto identity_of = [&](unsigned i) {
      return static_cast<std::int32_t>(first_class + 8 * (i / 2) + 2 * member + i % 2);
    };
    const auto passes = [&](unsigned i) {
      const std::int32_t identity = identity_of(i);
      return sums[4 * (i / 2) + 2 * half + i % 2] > bound && identity != limits.labels[half] &&
             static_cast<std::size_t>(identity) < end;
    };
    unsigned count = 0;
#pragma unroll
    for (unsigned i = 0; i < kOfRow; ++i) count += passes(i) ? 1 : 0;
    unsigned before = count;  // of the row's threads up to this one
    for (unsigned lanes = 1; lanes < kThreadsOfRow; lanes *= 2) {
      const unsigned other = __shfl_up_sync(kFullMask, before, lanes, kThreadsOfRow);
      if (member >= lanes) before += other;
    }
    unsigned first = 0;
    if (member == kThreadsOfRow - 1 && before > 0) {
      first = atomicAdd(&candidates.counts[limits.rows[half]], before);
    }
    first = __shfl_sync(kFullMask, first, kThreadsOfRow - 1, kThreadsOfRow);
    std::size_t place = std::size_t{first} + before - count;
    Candidate* const list = candidates.lists + limits.rows[half] * candidates.capacity;
#pragma unroll
    for (unsigned i = 0; i < kOfRow; ++i) {
      if (!passes(i)) continue;
      if (place < candidates.capacity) {
        list[place] = {identity_of(i), sums[4 * (i / 2) + 2 * half + i % 2]};
      }
      ++place;
    }
  }
}

// Grid: (tiles of rows in whole clusters, groups of classes); a block takes every gridDim.y-th tile
// of classes.
template <unsigned kCluster, bool kResident>
__global__ void __launch_bounds__(kThreads, 1)
    filter_wgmma_kernel(const __grid_constant__ TileMap row_map,
                        const __grid_constant__ TileMap class_map, Layout<kResident> layout,
                        std::size_t batch_rows, CandidateArrays candidates, std::size_t begin,
                        std::size_t end) {
#if defined(__CUDA_ARCH__) && !defined(ALPHAMARGIN_HOPPER)
  asm volatile("trap;\n");
#else
  ALPHAMARGIN_DYNAMIC_SHARED(unsigned char, shared);
  const Pipeline<kCluster, kResident> block{shared,
                                            shared + layout.row_bytes(),
                                            reinterpret_cast<Barriers*>(shared + layout.barriers()),
                                            layout.slabs,
                                            layout.stages(),
                                            std::size_t{blockIdx.x} * kRows,
                                            begin,
                                            end};
  if (threadIdx.x == 0) {
    init_barrier(&block.barriers->rows, 1);
    for (std::size_t stage = 0; stage < block.stage_count; ++stage) {
      init_barrier(&block.barriers->full[stage], 1);
      init_barrier(&block.barriers->empty[stage], kCluster * kConsumers * (kWarpgroup / kWarpSize));
    }
    barriers_are_initialised();
  }
  __syncwarp();
  cluster_sync();

  if (threadIdx.x < kWarpgroup) {
    give_registers<kProducerRegisters>();
    if (threadIdx.x == 0) block.produce(row_map, class_map);
  } else {
    take_registers<kConsumerRegisters>();
    const unsigned group = threadIdx.x / kWarpgroup - 1;
    RowLimits limits;
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      const std::size_t row = block.first_row + group * kWarpgroupRows +
                              threadIdx.x % kWarpgroup / kWarpSize * 16 + 8 * half +
                              threadIdx.x % kWarpSize / 4;
      const bool exists = row < batch_rows;
      limits.rows[half] = exists ? row : 0;
      limits.bounds[half] = exists ? seen_bound(candidates.bounds + row) : INFINITY;
      limits.labels[half] =
          exists ? static_cast<std::int32_t>(label_of(candidates, row)) : std::int32_t{-1};
    }
    typename Pipeline<kCluster, kResident>::Place place;
    float sums[kWarpgroupSums];
    for (std::size_t tile = blockIdx.y; tile < block.tiles(); tile += gridDim.y) {
      block.multiply(sums, group, place);
      keep_survivors(sums, limits, candidates, begin + tile * kClasses, end);
    }
  }
  // A block that returns takes its shared memory with it: others still arrive there.
  __syncwarp();
  cluster_sync();
#endif
}

template <unsigned kCluster, bool kResident>
void launch_filter(DeviceContext& context, const PrototypeArrays& prototypes,
                   const BatchArrays& batch, const CandidateArrays& candidates, std::size_t begin,
                   std::size_t end) {
  const Layout<kResident> layout{(batch.shadow_dim + kSlabColumns - 1) / kSlabColumns};
  const unsigned clusters = blocks_for(batch.rows, std::size_t{kRows} * kCluster, 0x3fffffff);
  const unsigned row_tiles = clusters * kCluster;
  const unsigned class_tiles = blocks_for(end - begin, kClasses, 65535);
  const unsigned groups = std::max(1u, context.multiprocessors() / row_tiles);
  launch(context, "filter_wgmma_kernel", &filter_wgmma_kernel<kCluster, kResident>,
         {dim3(row_tiles, std::min(class_tiles, groups)), kThreads, layout.bytes(), kCluster},
         tile_map(batch.half_unit, batch.rows, batch.shadow_dim, kRows),
         tile_map(prototypes.shadow, prototypes.identities, prototypes.shadow_dim,
                  kClasses / kCluster),
         layout, batch.rows, candidates, begin, end);
}

}  // namespace

bool has_wgmma_code() {
#if !defined(__CUDACC__) || defined(ALPHAMARGIN_WITH_SM90A)
  return true;
#else
  return false;
#endif
}

void filter_by_wgmma(DeviceContext& context, const PrototypeArrays& prototypes,
                     const BatchArrays& batch, const CandidateArrays& candidates, std::size_t begin,
                     std::size_t end) {
  const bool is_resident = batch.shadow_dim <= kMostResidentSlabs * kSlabColumns;
  const auto filter = batch.rows <= kRows
                          ? (is_resident ? launch_filter<1, true> : launch_filter<1, false>)
                          : (is_resident ? launch_filter<2, true> : launch_filter<2, false>);
  filter(context, prototypes, batch, candidates, begin, end);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
