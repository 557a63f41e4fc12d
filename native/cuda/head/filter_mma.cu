// The filter on tensor cores (mma.sync, sm_80 and later), with fp16, int8 or bfloat16 operands (the
// upper halves of prototypes that are split).
//
// A tile is 32·m rows of the batch × 256 classes, m = 1, 2, 4 by the size of the batch; 8 warps in
// 2 × 4 own 16·m × 64 of it each, in registers. Both operands come through shared memory in slabs
// of 64 bytes of D, several stages deep (cp.async), swizzled so that neither the copies nor
// ldmatrix meet in a bank: 16-byte chunk c of row r lies at c ^ (r/2 mod 4).
//
// A block keeps its rows and walks over the classes (persistent grid); the copies of the next tile
// begin before the last one has been compared. Blocks of the same classes run at the same time, so
// that the shadow comes from memory once.
//
// Epilogue, in registers: the largest of a row's 16 cosines against the row's bound; only where it
// passes are they looked at one by one. Survivors are gathered in shared memory, with a place in
// their row; a flush takes room for them in the rows' lists with one atomic for each row. Beyond
// the room in shared memory they are appended one by one. Nothing waits for another block.

#include <algorithm>

#include "cuda/async_copy.cuh"
#include "cuda/head/filter.h"
#include "cuda/head/filter_limits.cuh"
#include "cuda/head/filter_operands.cuh"
#include "cuda/launch.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kClassWarps = 4;
constexpr unsigned kWarpClasses = 64;
constexpr unsigned kClasses = kClassWarps * kWarpClasses;
constexpr unsigned kColumns = kWarpClasses / 8;  // accumulator tiles of a warp along the classes
constexpr unsigned kChunkBytes = 16;
constexpr unsigned kChunks = kSlabBytes / kChunkBytes;
constexpr unsigned kRowsPerCopy = kThreads / kChunks;
constexpr unsigned kStaged = 1024;
// Of 16 cosines a thread has of a row: their places along the classes.
constexpr unsigned kOfRow = 2 * kColumns;
static_assert(kStaged < 1u << 16);

// A survivor on its way to the list of its row.
struct Staged {
  std::uint32_t row_and_place;  // row·2^16 + place among the staged ones of the row
  Candidate candidate;
};

template <unsigned kRowTiles>
struct FilterShared {
  static constexpr unsigned kRows = 32 * kRowTiles;
  // Within the 99 KB that a block may have on every device from sm_80 on.
  static constexpr unsigned kStages = kRowTiles == 4 ? 3 : 4;
  static constexpr unsigned kStageBytes = (kRows + kClasses) * kSlabBytes;

  unsigned char stages[kStages][kStageBytes];
  RowLimit limits[kRows];
  std::uint32_t row_counts[kRows];  // staged survivors
  std::uint32_t row_places[kRows];  // first of their places in the row's list
  Staged staged[kStaged];
  std::uint32_t staged_count;  // may exceed kStaged
};
static_assert(sizeof(FilterShared<4>) <= 99 * 1024 && sizeof(FilterShared<2>) <= 99 * 1024);

__device__ __forceinline__ unsigned swizzled(unsigned row, unsigned chunk) {
  return row * kSlabBytes + (chunk ^ (row / 2 % kChunks)) * kChunkBytes;
}

// Copies of one slab of D: rows of the batch, then classes. Beyond the edges the last row is read
// again: its cosines are never compared.
template <class Operands, unsigned kRowTiles>
struct SlabLoader {
  using Shared = FilterShared<kRowTiles>;

  const unsigned char* rows;     // this thread's chunk of slab 0 of the batch's row 0
  const unsigned char* classes;  // the same of class 0
  std::size_t pitch;
  std::size_t first_row;
  std::size_t last_row;
  std::size_t last_class;

  __device__ void load(unsigned char* stage, std::size_t first_class, std::size_t slab) const {
    const unsigned place = threadIdx.x / kChunks;
    const unsigned chunk = threadIdx.x % kChunks;
    const std::size_t offset = slab * kSlabBytes;
#pragma unroll
    for (unsigned base = 0; base < Shared::kRows; base += kRowsPerCopy) {
      if (Shared::kRows % kRowsPerCopy != 0 && base + place >= Shared::kRows) break;
      const std::size_t row = min(first_row + base + place, last_row);
      copy_async16(stage + swizzled(base + place, chunk), rows + row * pitch + offset);
    }
    unsigned char* const class_stage = stage + Shared::kRows * kSlabBytes;
#pragma unroll
    for (unsigned base = 0; base < kClasses; base += kRowsPerCopy) {
      const std::size_t identity = min(first_class + base + place, last_class);
      copy_async16(class_stage + swizzled(base + place, chunk),
                   classes + identity * pitch + offset);
    }
  }
};

template <class Operands, unsigned kRowTiles>
using Sums = typename Operands::Sum[kRowTiles][kColumns][4];

// One slab of a warp's part of the tile: 2 steps of 32 bytes, kRowTiles × 8 products each.
template <class Operands, unsigned kRowTiles>
__device__ __forceinline__ void multiply_slab(Sums<Operands, kRowTiles>& sums,
                                              const unsigned char* stage, unsigned warp_row,
                                              unsigned warp_class) {
  const unsigned lane = threadIdx.x % kWarpSize;
  const unsigned char* const class_stage = stage + FilterShared<kRowTiles>::kRows * kSlabBytes;
#pragma unroll
  for (unsigned step = 0; step < kChunks / 2; ++step) {
    MmaA a[kRowTiles];
#pragma unroll
    for (unsigned m = 0; m < kRowTiles; ++m) {
      load_matrices(a[m].words,
                    stage + swizzled(warp_row + 16 * m + lane % 16, 2 * step + lane / 16));
    }
#pragma unroll
    for (unsigned pair = 0; pair < kColumns / 2; ++pair) {
      std::uint32_t b[4];
      load_matrices(b, class_stage + swizzled(warp_class + 16 * pair + lane % 8 + lane / 16 * 8,
                                              2 * step + lane / 8 % 2));
#pragma unroll
      for (unsigned m = 0; m < kRowTiles; ++m) {
        Operands::multiply(sums[m][2 * pair], a[m], MmaB{{b[0], b[1]}});
        Operands::multiply(sums[m][2 * pair + 1], a[m], MmaB{{b[2], b[3]}});
      }
    }
  }
}

// Called by all threads after a barrier, and none stages again before the next one.
template <unsigned kRowTiles>
__device__ void flush(FilterShared<kRowTiles>& shared, const CandidateArrays& candidates,
                      std::size_t first_row) {
  const unsigned count = min(shared.staged_count, kStaged);
  for (unsigned row = threadIdx.x; row < FilterShared<kRowTiles>::kRows; row += kThreads) {
    const std::uint32_t added = shared.row_counts[row];
    if (added == 0) continue;
    shared.row_places[row] = atomicAdd(&candidates.counts[first_row + row], added);
    shared.row_counts[row] = 0;
  }
  __syncthreads();
  for (unsigned i = threadIdx.x; i < count; i += kThreads) {
    const Staged entry = shared.staged[i];
    const unsigned row = entry.row_and_place >> 16;
    const std::size_t place = std::size_t{shared.row_places[row]} + (entry.row_and_place & 0xffffu);
    if (place < candidates.capacity) {
      candidates.lists[(first_row + row) * candidates.capacity + place] = entry.candidate;
    }
  }
  if (threadIdx.x == 0) shared.staged_count = 0;
}

template <class Sum>
__device__ __forceinline__ Sum largest_of_row(const Sum (&columns)[kColumns][4], unsigned half) {
  Sum largest = columns[0][2 * half];
#pragma unroll
  for (unsigned i = 1; i < kOfRow; ++i) {
    largest = max(largest, columns[i / 2][2 * half + i % 2]);
  }
  return largest;
}

// What the epilogue of a warp works on.
struct WarpTile {
  const PrototypeArrays& prototypes;
  const CandidateArrays& candidates;
  std::size_t first_row;  // of the block's tile
  unsigned warp_row;
  std::size_t first_class;  // of the warp's part
  std::size_t end;

  __device__ std::size_t identity(unsigned place) const {
    return first_class + 8 * (place / 2) + 2 * (threadIdx.x % 4) + place % 2;
  }
  __device__ unsigned row(unsigned m, unsigned half) const {
    return warp_row + 16 * m + 8 * half + threadIdx.x % kWarpSize / 4;
  }
};

template <unsigned kRowTiles>
__device__ void keep(FilterShared<kRowTiles>& shared, const WarpTile& tile, unsigned row,
                     std::size_t identity, float cosine) {
  if (is_of_label(tile.prototypes, shared.limits[row].label, identity)) return;
  const Candidate candidate{static_cast<std::int32_t>(identity), cosine};
  const unsigned slot = atomicAdd(&shared.staged_count, 1u);
  if (slot < kStaged) {
    const unsigned place = atomicAdd(&shared.row_counts[row], 1u);
    shared.staged[slot] = {row << 16 | place, candidate};
  } else {
    append_candidate(tile.candidates, tile.first_row + row, candidate);
  }
}

// Without rounding that is measured by class: one bound for all.
template <class Operands, unsigned kRowTiles>
__device__ __forceinline__ void keep_survivors(const Sums<Operands, kRowTiles>& sums,
                                               FilterShared<kRowTiles>& shared,
                                               const WarpTile& tile, std::false_type) {
#pragma unroll
  for (unsigned m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      const unsigned row = tile.row(m, half);
      const float bound = shared.limits[row].bound;
      if (!(largest_of_row(sums[m], half) > bound)) continue;
      visit_passing<kOfRow>([&](unsigned i) { return sums[m][i / 2][2 * half + i % 2]; },
                            [bound](float cosine) { return cosine > bound; },
                            [&](unsigned place, float cosine) {
                              const std::size_t identity = tile.identity(place);
                              if (identity >= tile.end) return;
                              keep(shared, tile, row, identity, cosine);
                            });
    }
  }
}

template <class Operands, unsigned kRowTiles>
__device__ __forceinline__ void keep_survivors(const Sums<Operands, kRowTiles>& sums,
                                               FilterShared<kRowTiles>& shared,
                                               const WarpTile& tile, std::true_type) {
  using Sum = typename Operands::Sum;
  const ClassRounding largest =
      largest_rounding(tile.prototypes, tile.first_class, kWarpClasses, tile.end);
#pragma unroll
  for (unsigned m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      const unsigned row = tile.row(m, half);
      const RowLimit limit = shared.limits[row];
      const Sum coarse = coarse_limit(limit, largest, Sum{});
      if (!(largest_of_row(sums[m], half) > coarse)) continue;
      visit_passing<kOfRow>([&](unsigned i) { return sums[m][i / 2][2 * half + i % 2]; },
                            [coarse](Sum product) { return product > coarse; },
                            [&](unsigned place, Sum product) {
                              const std::size_t identity = tile.identity(place);
                              if (identity >= tile.end) return;
                              const float cosine =
                                  listed_cosine(limit, tile.prototypes, identity, product);
                              if (!(cosine > limit.bound)) return;
                              keep(shared, tile, row, identity, cosine);
                            });
    }
  }
}

// Grid: (tiles of rows, groups of classes); a block takes every gridDim.y-th tile of classes.
template <class Operands, unsigned kRowTiles>
__global__ void __launch_bounds__(kThreads, 1)
    filter_mma_kernel(PrototypeArrays prototypes, BatchArrays batch, CandidateArrays candidates,
                      std::size_t begin, std::size_t end) {
  using Shared = FilterShared<kRowTiles>;
  ALPHAMARGIN_DYNAMIC_SHARED(Shared, shared);
  const std::size_t first_row = std::size_t{blockIdx.x} * Shared::kRows;
  const std::size_t class_tiles = (end - begin + kClasses - 1) / kClasses;
  const std::size_t pitch = batch.shadow_dim * Operands::kElementBytes;
  const std::size_t slabs = pitch / kSlabBytes;
  const unsigned warp = threadIdx.x / kWarpSize;
  const unsigned warp_row = warp / kClassWarps * 16 * kRowTiles;
  const unsigned warp_class = warp % kClassWarps * kWarpClasses;
  const unsigned own_chunk = threadIdx.x % kChunks * kChunkBytes;
  const SlabLoader<Operands, kRowTiles> loader{
      static_cast<const unsigned char*>(Operands::rows(batch)) + own_chunk,
      static_cast<const unsigned char*>(Operands::classes(prototypes)) + own_chunk,
      pitch,
      first_row,
      batch.rows - 1,
      end - 1};

  std::size_t load_tile = blockIdx.y;
  std::size_t load_slab = 0;
  unsigned load_stage = 0;
  const auto load_next = [&] {
    if (load_tile < class_tiles) {
      loader.load(shared->stages[load_stage], begin + load_tile * kClasses, load_slab);
      if (++load_slab == slabs) {
        load_slab = 0;
        load_tile += gridDim.y;
      }
    }
    copy_async_commit();
    load_stage = load_stage + 1 == Shared::kStages ? 0 : load_stage + 1;
  };
#pragma unroll
  for (unsigned i = 0; i + 1 < Shared::kStages; ++i) load_next();

  for (unsigned i = threadIdx.x; i < Shared::kRows; i += kThreads) {
    shared->limits[i] = row_limit<Operands>(prototypes, batch, candidates, first_row + i);
    shared->row_counts[i] = 0;
  }
  if (threadIdx.x == 0) shared->staged_count = 0;

  unsigned stage = 0;
  for (std::size_t tile = blockIdx.y; tile < class_tiles; tile += gridDim.y) {
    const std::size_t first_class = begin + tile * kClasses + warp_class;
    const bool active = first_row + warp_row < batch.rows && first_class < end;
    Sums<Operands, kRowTiles> sums;
#pragma unroll
    for (unsigned m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (unsigned n = 0; n < kColumns; ++n) {
#pragma unroll
        for (unsigned e = 0; e < 4; ++e) sums[m][n][e] = 0;
      }
    }
    for (std::size_t slab = 0; slab < slabs; ++slab) {
      copy_async_wait<Shared::kStages - 2>();
      __syncthreads();
      // The same for all: nothing is staged between this barrier and the next.
      if (slab == 0 && shared->staged_count > kStaged / 2) flush(*shared, candidates, first_row);
      load_next();  // into the stage that was read before the barrier
      if (active) {
        multiply_slab<Operands, kRowTiles>(sums, shared->stages[stage], warp_row, warp_class);
      }
      stage = stage + 1 == Shared::kStages ? 0 : stage + 1;
    }
    if (slabs == 1) __syncthreads();
    if (!active) continue;
    keep_survivors<Operands>(
        sums, *shared, WarpTile{prototypes, candidates, first_row, warp_row, first_class, end},
        std::bool_constant<Operands::kMeasured>{});
  }
  copy_async_wait<0>();
  __syncthreads();
  flush(*shared, candidates, first_row);
}

template <class Operands, unsigned kRowTiles>
void launch_filter(DeviceContext& context, const PrototypeArrays& prototypes,
                   const BatchArrays& batch, const CandidateArrays& candidates, std::size_t begin,
                   std::size_t end) {
  using Shared = FilterShared<kRowTiles>;
  const unsigned row_tiles = blocks_for(batch.rows, Shared::kRows, 0x7fffffff);
  const unsigned class_tiles = blocks_for(end - begin, kClasses, 65535);
  const unsigned groups = std::max(1u, context.multiprocessors() / row_tiles);
  launch(context, "filter_mma_kernel", &filter_mma_kernel<Operands, kRowTiles>,
         {dim3(row_tiles, std::min(class_tiles, groups)), kThreads, sizeof(Shared)}, prototypes,
         batch, candidates, begin, end);
}

template <class Operands>
void filter_with(DeviceContext& context, const PrototypeArrays& prototypes,
                 const BatchArrays& batch, const CandidateArrays& candidates, std::size_t begin,
                 std::size_t end) {
  // A warp without rows multiplies nothing: the smallest tile that holds the batch.
  if (batch.rows <= FilterShared<1>::kRows) {
    launch_filter<Operands, 1>(context, prototypes, batch, candidates, begin, end);
  } else if (batch.rows <= FilterShared<2>::kRows) {
    launch_filter<Operands, 2>(context, prototypes, batch, candidates, begin, end);
  } else {
    launch_filter<Operands, 4>(context, prototypes, batch, candidates, begin, end);
  }
}

}  // namespace

void filter_by_mma(DeviceContext& context, const PrototypeArrays& prototypes,
                   const BatchArrays& batch, const CandidateArrays& candidates, std::size_t begin,
                   std::size_t end) {
  with_operands(prototypes.format(), [&](auto operands) {
    filter_with<decltype(operands)>(context, prototypes, batch, candidates, begin, end);
  });
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
