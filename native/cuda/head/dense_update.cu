// Shapes: coefficients and cosines [R, count] of a chunk, gradients [count, D].
// Accumulation: products in float32, sums over rows in float64.
// Traffic: coefficients and cosines once, the gradients once, touched prototypes read and written
// once.

#include "cuda/head/class_gradient.cuh"
#include "cuda/head/dense_update.h"
#include "cuda/head/warp_row.cuh"
#include "cuda/launch.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kProjectionThreads = 256;
constexpr unsigned kUpdateThreads = 128;
constexpr std::size_t kSharedGradientBytes = 40 * 1024;
// Blocks that keep their sums in device memory, for rows too wide for shared memory.
constexpr std::size_t kSumBlocks = 512;

// What there is to do for a class: a segment of pairs (and perhaps dense rows), or one of these.
constexpr std::uint32_t kNothing = 0xffffffffu;
constexpr std::uint32_t kDenseRowsAlone = 0xfffffffeu;

// The segment of an identity among the sorted pairs, or kNothing.
__device__ std::uint32_t find_segment(const PairArrays& pairs, std::size_t identity) {
  const std::uint32_t segments = *pairs.segments;
  std::uint32_t low = 0;
  std::uint32_t high = segments;
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    if (pairs.identities[pairs.starts[middle]] < identity) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < segments && pairs.identities[pairs.starts[low]] == identity ? low : kNothing;
}

// A block per 32 classes: Σ_i g c over the dense rows, and what there is to do. Warp w takes the
// rows w, w + 8, … in ascending order; then the warps are added up in order.
__global__ void __launch_bounds__(kProjectionThreads)
    class_projection_kernel(ChunkArrays chunk, const float* coefficients, PairArrays pairs,
                            double* projections, std::uint32_t* work, std::uint32_t* touched) {
  constexpr unsigned kWarps = kProjectionThreads / kWarpSize;
  ALPHAMARGIN_SHARED(double, projections_of_warps, kProjectionThreads);
  ALPHAMARGIN_SHARED(unsigned, counts_of_warps, kProjectionThreads);
  const unsigned lane = threadIdx.x % kWarpSize;
  const std::size_t j = std::size_t{blockIdx.x} * kWarpSize + lane;
  double projection = 0;
  unsigned count = 0;
  if (j < chunk.count) {
    for (std::size_t i = threadIdx.x / kWarpSize; i < chunk.rows; i += kWarps) {
      const double coefficient = coefficients[i * chunk.count + j];
      projection += coefficient * chunk.cosines[i * chunk.count + j];
      count += coefficient != 0 ? 1 : 0;
    }
  }
  projections_of_warps[threadIdx.x] = projection;
  counts_of_warps[threadIdx.x] = count;
  __syncthreads();
  if (threadIdx.x >= kWarpSize) return;
  for (unsigned warp = 1; warp < kWarps; ++warp) {
    projection += projections_of_warps[warp * kWarpSize + lane];
    count += counts_of_warps[warp * kWarpSize + lane];
  }
  std::uint32_t found = kNothing;
  if (j < chunk.count) {
    found = find_segment(pairs, chunk.begin + j);
    if (found == kNothing && count > 0) found = kDenseRowsAlone;
    projections[j] = projection;
    work[j] = found;
  }
  const unsigned updated = __ballot_sync(kFullMask, found != kNothing);
  if (lane == 0 && updated != 0) atomicAdd(touched, static_cast<unsigned>(__popc(updated)));
}

// What the update of a chunk reads of the dense rows.
struct ChunkGradients {
  std::size_t begin;  // first identity
  std::size_t count;
  const float* gradients;     // Σ g x̂ [count, D]
  const double* projections;  // Σ g c [count]
  const std::uint32_t* work;  // [count]
};

// A warp per class; D ≤ 32 · Shape::kColumns. Registers for 16 or 20 warps a multiprocessor.
template <class Shape>
__global__ void __launch_bounds__(kUpdateThreads, Shape::kColumns > 8 ? 4 : 5)
    update_narrow_chunk_kernel(PrototypeArrays prototypes, BatchArrays batch,
                               SupportArrays supports, const RowState* rows, PairArrays pairs,
                               GradientFactors factors, DeviceOptimizer optimizer,
                               ChunkGradients chunk) {
  constexpr unsigned kWarps = kUpdateThreads / kWarpSize;
  ALPHAMARGIN_SHARED(float, fresh, kUpdateThreads* Shape::kColumns);
  const unsigned warp = threadIdx.x / kWarpSize;
  const std::size_t j = std::size_t{blockIdx.x} * kWarps + warp;
  if (j >= chunk.count) return;
  const std::uint32_t work = chunk.work[j];
  if (work == kNothing) return;
  WarpRow<Shape> row(prototypes, optimizer, chunk.begin + j);
  typename WarpRow<Shape>::Sums sums;
  row.begin(chunk.gradients + j * prototypes.dim, sums);
  double projection = chunk.projections[j];
  if (work != kDenseRowsAlone) {
    projection += for_segment_of_warp(pairs, work, supports, rows, batch, factors,
                                      [&](unsigned count, double coefficient, std::size_t place) {
                                        row.add(batch.unit, count, coefficient, place, sums);
                                      });
  }
  row.step(projection, sums);
  row.store(fresh + warp * kWarpSize * Shape::kColumns);
}

// The same for any D: a block takes one class at a time. `wide_sums` [blocks, D], or nullptr:
// shared memory.
__global__ void __launch_bounds__(kUpdateThreads)
    update_chunk_kernel(PrototypeArrays prototypes, BatchArrays batch, SupportArrays supports,
                        const RowState* rows, PairArrays pairs, GradientFactors factors,
                        DeviceOptimizer optimizer, ChunkGradients chunk, double* wide_sums) {
  ALPHAMARGIN_DYNAMIC_SHARED(double, shared_sums);
  double* sums = wide_sums == nullptr ? shared_sums : wide_sums + blockIdx.x * prototypes.dim;
  for (std::size_t j = blockIdx.x; j < chunk.count; j += gridDim.x) {
    const std::uint32_t work = chunk.work[j];
    if (work == kNothing) continue;
    for (std::size_t k = threadIdx.x; k < prototypes.dim; k += blockDim.x) {
      sums[k] = chunk.gradients[j * prototypes.dim + k];
    }
    double projection = chunk.projections[j];
    if (work != kDenseRowsAlone) {
      projection += add_segment(pairs, work, supports, rows, batch, factors, sums);
    }
    update_row(prototypes, optimizer, chunk.begin + j, sums, projection);
  }
}

bool is_narrow(std::size_t dim) { return dim <= kWarpSize * kMostRowColumns; }
bool is_in_shared(std::size_t dim) { return dim * sizeof(double) <= kSharedGradientBytes; }

std::size_t sum_elements(std::size_t dim, std::size_t most_classes) {
  if (is_narrow(dim) || is_in_shared(dim)) return 0;
  return std::min(kSumBlocks, most_classes) * dim;
}

}  // namespace

ChunkUpdate::ChunkUpdate(const HeadCall& call, const Supports& supports, const SortedPairs& pairs,
                         const Optimizer& optimizer, std::size_t most_classes)
    : call_(call),
      supports_(supports),
      pairs_(pairs),
      optimizer_(optimizer),
      gradients_(call.context, call.scratch, most_classes * call.batch.dim),
      projections_(call.context, call.scratch, most_classes),
      work_(call.context, call.scratch, most_classes),
      sums_(call.context, call.scratch, sum_elements(call.batch.dim, most_classes)),
      touched_(call.context, call.scratch, 1) {
  touched_.fill_bytes(0);
}

void ChunkUpdate::update(const ChunkArrays& chunk, const float* coefficients,
                         ChunkProducts& products) {
  DeviceContext& context = call_.context;
  const std::size_t dim = call_.batch.dim;
  const PairArrays pairs = PairArrays::of(pairs_);
  launch(context, "class_projection_kernel", &class_projection_kernel,
         {blocks_for(chunk.count, kWarpSize), kProjectionThreads}, chunk, coefficients, pairs,
         projections_.data(), work_.data(), touched_.data());
  products.class_gradients(coefficients, gradients_.data());
  const GradientFactors factors =
      GradientFactors::of(call_.loss, call_.counted, call_.prototypes.classes());
  const ChunkGradients own{chunk.begin, chunk.count, gradients_.data(), projections_.data(),
                           work_.data()};
  if (is_narrow(dim)) {
    with_row_shape(dim, [&](auto shape) {
      launch(context, "update_narrow_chunk_kernel", &update_narrow_chunk_kernel<decltype(shape)>,
             {blocks_for(chunk.count, kUpdateThreads / kWarpSize), kUpdateThreads},
             call_.prototypes, call_.batch, supports_.arrays(), call_.rows, pairs, factors,
             DeviceOptimizer::of(optimizer_), own);
    });
    return;
  }
  const bool in_shared = is_in_shared(dim);
  launch(context, "update_chunk_kernel", &update_chunk_kernel,
         {blocks_for(chunk.count, 1, in_shared ? chunk.count : kSumBlocks), kUpdateThreads,
          in_shared ? dim * sizeof(double) : 0},
         call_.prototypes, call_.batch, supports_.arrays(), call_.rows, pairs, factors,
         DeviceOptimizer::of(optimizer_), own, sums_.data());
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
