// The filter on the tensor cores of Hopper (wgmma, TMA; sm_90a), with fp16, int8 or bfloat16
// operands (the upper halves of prototypes that are split).
//
// A block keeps 128 rows of the batch and walks over tiles of 256 classes (persistent grid). Three
// warpgroups with a part each: one thread of the first brings the tiles in, in slabs of 128 bytes
// of D, several stages deep; the other two multiply 64 rows each with the same slabs. Rows of up to
// 1024 bytes are resident in shared memory, longer ones come with every slab. Blocks of a cluster
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
// only where it passes are they looked at one by one. Nothing waits for another block but the
// stages.

#include <algorithm>

#include "cuda/head/filter_limits.cuh"
#include "cuda/head/filter_operands.cuh"
#include "cuda/launch.h"
#include "cuda/tile_map.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kWarpgroup = 4 * kWarpSize;
constexpr unsigned kConsumers = 2;
constexpr unsigned kThreads = (1 + kConsumers) * kWarpgroup;
constexpr unsigned kRows = kConsumers * kWarpgroupRows;
constexpr unsigned kClasses = kWarpgroupColumns;
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

constexpr std::size_t slabs_of(std::size_t row_bytes) {
  return (row_bytes + kTileRow - 1) / kTileRow;
}

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

template <class Operands, unsigned kCluster, bool kResident>
struct Pipeline {
  using Sum = typename Operands::Sum;
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
  __device__ void multiply(Sum (&sums)[kWarpgroupSums], unsigned group, Place& place) const {
    __syncwarp();  // lanes keep survivors one by one
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
        Operands::multiply(sums, left + step * (kWarpgroupDepthBytes / 16),
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
    warpgroup_settle(sums);
    release(before);
  }
};

// What a thread knows of its two rows.
struct ThreadRows {
  RowLimit limits[2];
  std::size_t rows[2];
};

// What its epilogue works on: a tile of classes.
struct ClassTile {
  const PrototypeArrays& prototypes;
  const CandidateArrays& candidates;
  std::size_t first;
  std::size_t end;
};

constexpr unsigned kOfRow = kWarpgroupSums / 2;
constexpr unsigned kThreadsOfRow = 4;

// Product i of 64 of a thread's row, and its class.
template <class Sum>
__device__ __forceinline__ Sum product_of(const Sum (&sums)[kWarpgroupSums], unsigned half,
                                          unsigned i) {
  return sums[4 * (i / 2) + 2 * half + i % 2];
}
__device__ __forceinline__ std::size_t identity_of(const ClassTile& tile, unsigned i) {
  return tile.first + 8 * (i / 2) + 2 * (threadIdx.x % kThreadsOfRow) + i % 2;
}

template <class Sum>
__device__ __forceinline__ Sum largest_of_row(const Sum (&sums)[kWarpgroupSums], unsigned half) {
  Sum largest = sums[2 * half];
#pragma unroll
  for (unsigned i = 1; i < kOfRow; ++i) largest = max(largest, product_of(sums, half, i));
  return largest;
}

// Without rounding that is measured by class: one bound for all. The four threads of a row count
// together and take room in its list with one atomic.
[[maybe_unused]] __device__ __forceinline__ void keep_survivors(const float (&sums)[kWarpgroupSums],
                                                                const ThreadRows& own,
                                                                const ClassTile& tile,
                                                                std::false_type) {
  const unsigned member = threadIdx.x % kThreadsOfRow;
#pragma unroll
  for (unsigned half = 0; half < 2; ++half) {
    const RowLimit& limit = own.limits[half];
    if (!__any_sync(kFullMask, largest_of_row(sums, half) > limit.bound)) continue;
    std::uint32_t passing[2] = {};
#pragma unroll
    for (unsigned i = 0; i < kOfRow; ++i) {
      const std::size_t identity = identity_of(tile, i);
      const bool passes = product_of(sums, half, i) > limit.bound && identity < tile.end &&
                          !is_of_label(tile.prototypes, limit.label, identity);
      passing[i / 32] |= static_cast<std::uint32_t>(passes) << i % 32;
    }
    const auto count = static_cast<unsigned>(__popc(passing[0]) + __popc(passing[1]));
    unsigned before = count;  // of the row's threads up to this one
    for (unsigned lanes = 1; lanes < kThreadsOfRow; lanes *= 2) {
      const unsigned other = __shfl_up_sync(kFullMask, before, lanes, kThreadsOfRow);
      if (member >= lanes) before += other;
    }
    unsigned first = 0;
    if (member == kThreadsOfRow - 1 && before > 0) {
      first = atomicAdd(&tile.candidates.counts[own.rows[half]], before);
    }
    first = __shfl_sync(kFullMask, first, kThreadsOfRow - 1, kThreadsOfRow);
    std::size_t place = std::size_t{first} + before - count;
    Candidate* const list = tile.candidates.lists + own.rows[half] * tile.candidates.capacity;
#pragma unroll
    for (unsigned i = 0; i < kOfRow; ++i) {
      if ((passing[i / 32] >> i % 32 & 1u) == 0) continue;
      if (place < tile.candidates.capacity) {
        list[place] = {static_cast<std::int32_t>(identity_of(tile, i)), product_of(sums, half, i)};
      }
      ++place;
    }
  }
}

// With it: the coarse bound of the tile, then those that pass it one by one. (All of them at once
// would want two loads for each of the 64, and the registers for them.)
template <class Sum>
[[maybe_unused]] __device__ __forceinline__ void keep_survivors(const Sum (&sums)[kWarpgroupSums],
                                                                const ThreadRows& own,
                                                                const ClassTile& tile,
                                                                std::true_type) {
  const ClassRounding rounding = largest_rounding(tile.prototypes, tile.first, kClasses, tile.end);
#pragma unroll
  for (unsigned half = 0; half < 2; ++half) {
    const RowLimit& limit = own.limits[half];
    const Sum coarse = coarse_limit(limit, rounding, Sum{});
    if (!(largest_of_row(sums, half) > coarse)) continue;
    visit_passing<kOfRow>(
        [&](unsigned i) { return product_of(sums, half, i); },
        [coarse](Sum product) { return product > coarse; },
        [&](unsigned i, Sum product) {
          const std::size_t identity = identity_of(tile, i);
          if (identity >= tile.end || is_of_label(tile.prototypes, limit.label, identity)) {
            return;
          }
          const float cosine = listed_cosine(limit, tile.prototypes, identity, product);
          if (!(cosine > limit.bound)) return;
          append_candidate(tile.candidates, own.rows[half],
                           {static_cast<std::int32_t>(identity), cosine});
        });
  }
}

// Grid: (tiles of rows in whole clusters, groups of classes); a block takes every gridDim.y-th tile
// of classes.
template <class Operands, unsigned kCluster, bool kResident>
__global__ void __launch_bounds__(kThreads, 1)
    filter_wgmma_kernel(const __grid_constant__ TileMap row_map,
                        const __grid_constant__ TileMap class_map, Layout<kResident> layout,
                        PrototypeArrays prototypes, BatchArrays batch, CandidateArrays candidates,
                        std::size_t begin, std::size_t end) {
#if defined(__CUDA_ARCH__) && !defined(ALPHAMARGIN_HOPPER)
  asm volatile("trap;\n");
#else
  ALPHAMARGIN_DYNAMIC_SHARED(unsigned char, shared);
  using Block = Pipeline<Operands, kCluster, kResident>;
  const Block block{shared,
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
    ThreadRows own;
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      const std::size_t row = block.first_row + group * kWarpgroupRows +
                              threadIdx.x % kWarpgroup / kWarpSize * 16 + 8 * half +
                              threadIdx.x % kWarpSize / 4;
      own.limits[half] = row_limit<Operands>(prototypes, batch, candidates, row);
      own.rows[half] = row < batch.rows ? row : 0;
    }
    typename Block::Place place;
    typename Operands::Sum sums[kWarpgroupSums];
    for (std::size_t tile = blockIdx.y; tile < block.tiles(); tile += gridDim.y) {
      block.multiply(sums, group, place);
      keep_survivors(sums, own, {prototypes, candidates, begin + tile * kClasses, end},
                     std::bool_constant<Operands::kMeasured>{});
    }
  }
  // A block that returns takes its shared memory with it: others still arrive there.
  __syncwarp();
  cluster_sync();
#endif
}

template <class Operands, unsigned kCluster, bool kResident>
void launch_filter(DeviceContext& context, const PrototypeArrays& prototypes,
                   const BatchArrays& batch, const CandidateArrays& candidates, std::size_t begin,
                   std::size_t end) {
  const std::size_t row_bytes = batch.shadow_dim * Operands::kElementBytes;
  const Layout<kResident> layout{slabs_of(row_bytes)};
  const unsigned clusters = blocks_for(batch.rows, std::size_t{kRows} * kCluster, 0x3fffffff);
  const unsigned row_tiles = clusters * kCluster;
  const unsigned class_tiles = blocks_for(end - begin, kClasses, 65535);
  const unsigned groups = std::max(1u, context.multiprocessors() / row_tiles);
  launch(context, "filter_wgmma_kernel", &filter_wgmma_kernel<Operands, kCluster, kResident>,
         {dim3(row_tiles, std::min(class_tiles, groups)), kThreads, layout.bytes(), kCluster},
         tile_map(Operands::rows(batch), batch.rows, row_bytes, kRows),
         tile_map(Operands::classes(prototypes), prototypes.identities, row_bytes,
                  kClasses / kCluster),
         layout, prototypes, batch, candidates, begin, end);
}

template <class Operands>
void filter_with(DeviceContext& context, const PrototypeArrays& prototypes,
                 const BatchArrays& batch, const CandidateArrays& candidates, std::size_t begin,
                 std::size_t end) {
  const bool is_resident =
      slabs_of(batch.shadow_dim * Operands::kElementBytes) <= kMostResidentSlabs;
  const auto filter =
      batch.rows <= kRows
          ? (is_resident ? launch_filter<Operands, 1, true> : launch_filter<Operands, 1, false>)
          : (is_resident ? launch_filter<Operands, 2, true> : launch_filter<Operands, 2, false>);
  filter(context, prototypes, batch, candidates, begin, end);
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
  with_operands(prototypes.format(), [&](auto operands) {
    filter_with<decltype(operands)>(context, prototypes, batch, candidates, begin, end);
  });
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
