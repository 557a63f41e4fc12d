#include "cuda/async_copy.cuh"
#include "cuda/head/filter.h"
#include "cuda/launch.h"
#include "cuda/warp_mma.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

__device__ __forceinline__ void append(const CandidateArrays& candidates, std::size_t row,
                                       std::size_t identity, float cosine) {
  if (candidates.rows != nullptr &&
      candidates.rows[row].label == static_cast<std::int64_t>(identity)) {
    return;
  }
  const std::uint32_t place = atomicAdd(&candidates.counts[row], 1u);
  if (place < candidates.capacity) {
    candidates.lists[row * candidates.capacity + place] = {static_cast<std::int32_t>(identity),
                                                           cosine};
  }
}

// Tensor cores: 8 warps in 2 × 4 own 32 × 32 cosines each of a tile of 64 rows × 128 classes. The
// next slab of D is copied while this one is multiplied.
constexpr unsigned kMmaThreads = 256;
constexpr unsigned kMmaRows = 64;
constexpr unsigned kMmaClasses = 128;
constexpr unsigned kSlab = 32;
static_assert(kDimMultiple % kSlab == 0);
// 80 bytes: eight rows of a matrix start in eight different groups of four banks.
constexpr unsigned kPitch = kSlab + 8;
constexpr unsigned kChunk = 8;  // halves in 16 bytes
constexpr unsigned kTileRows = kMmaRows + kMmaClasses;

// Rows of the batch, then classes, into one stage of shared memory. Beyond the edges the last row
// is read again: its cosines are never compared.
__device__ __forceinline__ void copy_slab(const PrototypeArrays& prototypes,
                                          const BatchArrays& batch, std::size_t first_row,
                                          std::size_t first_class, std::size_t end,
                                          std::size_t slab, __half* stage) {
  constexpr unsigned kChunksPerRow = kSlab / kChunk;
#pragma unroll
  for (unsigned i = threadIdx.x; i < kTileRows * kChunksPerRow; i += kMmaThreads) {
    const unsigned place = i / kChunksPerRow;
    const std::size_t k = slab + i % kChunksPerRow * kChunk;
    const __half* source;
    if (place < kMmaRows) {
      const std::size_t row = first_row + place;
      source = batch.half_unit + (row < batch.rows ? row : batch.rows - 1) * batch.half_dim + k;
    } else {
      const std::size_t identity = first_class + (place - kMmaRows);
      source =
          prototypes.shadow + (identity < end ? identity : end - 1) * prototypes.shadow_dim + k;
    }
    copy_async16(stage + place * kPitch + i % kChunksPerRow * kChunk, source);
  }
  copy_async_commit();
}

__global__ void __launch_bounds__(kMmaThreads, 2)
    filter_mma_kernel(PrototypeArrays prototypes, BatchArrays batch, CandidateArrays candidates,
                      std::size_t begin, std::size_t end) {
  struct alignas(16) Stage {
    __half values[kTileRows * kPitch];
  };
  ALPHAMARGIN_SHARED(Stage, stages, 2);
  const std::size_t first_class = begin + std::size_t{blockIdx.x} * kMmaClasses;
  const std::size_t first_row = std::size_t{blockIdx.y} * kMmaRows;
  const unsigned lane = threadIdx.x % kWarpSize;
  const unsigned warp = threadIdx.x / kWarpSize;
  const unsigned warp_row = warp / 4 * 32;
  const unsigned warp_class = warp % 4 * 32;
  const bool active = first_row + warp_row < batch.rows && first_class + warp_class < end;

  float sums[2][4][4];
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[m][n][e] = 0;
    }
  }
  copy_slab(prototypes, batch, first_row, first_class, end, 0, stages[0].values);
  unsigned current = 0;
  for (std::size_t slab = 0; slab < batch.half_dim; slab += kSlab) {
    if (slab + kSlab < batch.half_dim) {
      copy_slab(prototypes, batch, first_row, first_class, end, slab + kSlab,
                stages[current ^ 1].values);
      copy_async_wait<1>();
    } else {
      copy_async_wait<0>();
    }
    __syncthreads();
    if (active) {
      const __half* rows = stages[current].values + (warp_row + lane % 16) * kPitch + lane / 16 * 8;
      const __half* classes = stages[current].values +
                              (kMmaRows + warp_class + lane % 8 + lane / 16 * 8) * kPitch +
                              lane / 8 % 2 * 8;
#pragma unroll
      for (unsigned k = 0; k < kSlab; k += 16) {
        MmaA a[2];
#pragma unroll
        for (unsigned m = 0; m < 2; ++m) load_matrices(a[m].pairs, rows + m * 16 * kPitch + k);
#pragma unroll
        for (unsigned pair = 0; pair < 2; ++pair) {
          std::uint32_t b[4];
          load_matrices(b, classes + pair * 16 * kPitch + k);
#pragma unroll
          for (unsigned m = 0; m < 2; ++m) {
            mma_m16n8k16(sums[m][2 * pair], a[m], MmaB{{b[0], b[1]}});
            mma_m16n8k16(sums[m][2 * pair + 1], a[m], MmaB{{b[2], b[3]}});
          }
        }
      }
    }
    __syncthreads();
    current ^= 1;
  }
  if (!active) return;
#pragma unroll
  for (unsigned m = 0; m < 2; ++m) {
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      const std::size_t row = first_row + warp_row + 16 * m + 8 * half + lane / 4;
      const float bound = row < batch.rows ? candidates.bounds[row] : INFINITY;
#pragma unroll
      for (unsigned n = 0; n < 4; ++n) {
#pragma unroll
        for (unsigned e = 0; e < 2; ++e) {
          const float cosine = sums[m][n][2 * half + e];
          const std::size_t identity = first_class + warp_class + 8 * n + 2 * (lane % 4) + e;
          if (cosine > bound && identity < end) append(candidates, row, identity, cosine);
        }
      }
    }
  }
}

// Fused multiply-adds: 16 × 16 threads own 4 × 4 cosines each of a tile of 64 × 64.
constexpr unsigned kSimtThreads = 256;
constexpr unsigned kSimtTile = 64;
constexpr unsigned kSimtSlab = 16;
static_assert(kDimMultiple % kSimtSlab == 0);

__global__ void __launch_bounds__(kSimtThreads)
    filter_simt_kernel(PrototypeArrays prototypes, BatchArrays batch, CandidateArrays candidates,
                       std::size_t begin, std::size_t end) {
  struct Row {
    float values[kSimtTile + 1];
  };
  ALPHAMARGIN_SHARED(Row, rows, kSimtSlab);
  ALPHAMARGIN_SHARED(Row, classes, kSimtSlab);
  const std::size_t first_class = begin + std::size_t{blockIdx.x} * kSimtTile;
  const std::size_t first_row = std::size_t{blockIdx.y} * kSimtTile;
  const unsigned own_row = threadIdx.x / 16;
  const unsigned own_class = threadIdx.x % 16;
  float sums[4][4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) sums[i][j] = 0;
  }
  for (std::size_t slab = 0; slab < batch.half_dim; slab += kSimtSlab) {
#pragma unroll
    for (unsigned i = threadIdx.x; i < kSimtTile * kSimtSlab; i += kSimtThreads) {
      const unsigned place = i / kSimtSlab;
      const unsigned k = i % kSimtSlab;
      const std::size_t row = first_row + place;
      const std::size_t identity = first_class + place;
      rows[k].values[place] = __half2float(
          batch.half_unit[(row < batch.rows ? row : batch.rows - 1) * batch.half_dim + slab + k]);
      classes[k].values[place] = __half2float(
          prototypes
              .shadow[(identity < end ? identity : end - 1) * prototypes.shadow_dim + slab + k]);
    }
    __syncthreads();
#pragma unroll
    for (unsigned k = 0; k < kSimtSlab; ++k) {
      float a[4];
      float b[4];
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) a[i] = rows[k].values[own_row + 16 * i];
#pragma unroll
      for (unsigned j = 0; j < 4; ++j) b[j] = classes[k].values[own_class + 16 * j];
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
    const std::size_t row = first_row + own_row + 16 * i;
    const float bound = row < batch.rows ? candidates.bounds[row] : INFINITY;
#pragma unroll
    for (unsigned j = 0; j < 4; ++j) {
      const std::size_t identity = first_class + own_class + 16 * j;
      if (sums[i][j] > bound && identity < end) append(candidates, row, identity, sums[i][j]);
    }
  }
}

}  // namespace

void filter_prototypes(DeviceContext& context, const PrototypeArrays& prototypes,
                       const BatchArrays& batch, const CandidateArrays& candidates,
                       std::size_t begin, std::size_t end) {
  if (begin >= end || batch.rows == 0) return;
  constexpr std::size_t kMostRows = std::size_t{65535} * kSimtTile;
  static_assert(kMmaRows == kSimtTile);
  if (batch.rows > kMostRows) {
    throw Failure(FailureCode::kInvalidArgument, "expected at most " + std::to_string(kMostRows) +
                                                     " rows on a CUDA device but received " +
                                                     std::to_string(batch.rows));
  }
  constexpr int kFirstWithTensorCores = 80;
  if (context.compute_capability() >= kFirstWithTensorCores) {
    launch(context, "filter_mma_kernel", &filter_mma_kernel,
           {dim3(blocks_for(end - begin, kMmaClasses, 0x7fffffff),
                 blocks_for(batch.rows, kMmaRows, 65535)),
            kMmaThreads},
           prototypes, batch, candidates, begin, end);
  } else {
    launch(context, "filter_simt_kernel", &filter_simt_kernel,
           {dim3(blocks_for(end - begin, kSimtTile, 0x7fffffff),
                 blocks_for(batch.rows, kSimtTile, 65535)),
            kSimtThreads},
           prototypes, batch, candidates, begin, end);
  }
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
