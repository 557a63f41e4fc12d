// The filter without tensor cores.

#include "cuda/head/filter.h"
#include "cuda/launch.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

// 16 × 16 threads own 4 × 4 cosines each of a tile of 64 × 64.
constexpr unsigned kSimtThreads = 256;
constexpr unsigned kSimtSlab = 16;
static_assert(kSlabBytes / sizeof(__half) % kSimtSlab == 0);

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
  for (std::size_t slab = 0; slab < batch.shadow_dim; slab += kSimtSlab) {
#pragma unroll
    for (unsigned i = threadIdx.x; i < kSimtTile * kSimtSlab; i += kSimtThreads) {
      const unsigned place = i / kSimtSlab;
      const unsigned k = i % kSimtSlab;
      const std::size_t row = first_row + place;
      const std::size_t identity = first_class + place;
      rows[k].values[place] = __half2float(
          batch.half_unit[(row < batch.rows ? row : batch.rows - 1) * batch.shadow_dim + slab + k]);
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
    const float bound = row < batch.rows ? seen_bound(candidates.bounds + row) : INFINITY;
#pragma unroll
    for (unsigned j = 0; j < 4; ++j) {
      const std::size_t identity = first_class + own_class + 16 * j;
      if (sums[i][j] > bound && identity < end &&
          !is_of_label(prototypes, first_of_label(prototypes, candidates, row), identity)) {
        append_candidate(candidates, row, {static_cast<std::int32_t>(identity), sums[i][j]});
      }
    }
  }
}

}  // namespace

void filter_by_simt(DeviceContext& context, const PrototypeArrays& prototypes,
                    const BatchArrays& batch, const CandidateArrays& candidates, std::size_t begin,
                    std::size_t end) {
  launch(context, "filter_simt_kernel", &filter_simt_kernel,
         {dim3(blocks_for(end - begin, kSimtTile, 0x7fffffff),
               blocks_for(batch.rows, kSimtTile, 65535)),
          kSimtThreads},
         prototypes, batch, candidates, begin, end);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
