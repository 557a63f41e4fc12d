#include "cuda/head/dense_chunks.h"
#include "cuda/head/exact_dot.cuh"
#include "cuda/launch.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

// A block per row: the inter-top-K penalty of its top classes in the chunk, on all sub-centres.
__global__ void penalty_kernel(TopArrays top, ChunkArrays chunk, std::size_t sub_centres) {
  const std::size_t i = blockIdx.x;
  top.for_row(chunk.indices[i], [&](std::int32_t of_top) {
    const std::size_t first = static_cast<std::size_t>(of_top) * sub_centres;
    if (first < chunk.begin || first >= chunk.begin + chunk.count) return;
    float* const own = chunk.cosines + i * chunk.count + first - chunk.begin;
    for (std::size_t k = threadIdx.x; k < sub_centres; k += blockDim.x) {
      own[k] += static_cast<float>(top.penalty);
    }
  });
}

// A block per row: the largest cosine of each identity stays, the first where several are equal.
__global__ void __launch_bounds__(kChunkThreads)
    best_sub_centres_kernel(ChunkArrays chunk, std::size_t sub_centres) {
  const std::size_t count = chunk.count / sub_centres;
  for (std::size_t j = threadIdx.x; j < count; j += blockDim.x) {
    float* const own = chunk.cosines + blockIdx.x * chunk.count + j * sub_centres;
    std::size_t best = 0;
    for (std::size_t k = 1; k < sub_centres; ++k) {
      if (own[k] > own[best]) best = k;
    }
    for (std::size_t k = 0; k < sub_centres; ++k) {
      if (k != best) own[k] = -INFINITY;
    }
  }
}

// A block per row, half a warp per class.
__global__ void __launch_bounds__(kChunkThreads)
    sharpen_kernel(DeviceLoss loss, PrototypeArrays prototypes, BatchArrays batch, TopArrays top,
                   const RowState* rows, ChunkArrays chunk) {
  const std::size_t i = blockIdx.x;
  const std::size_t row = chunk.indices[i];
  const double from = rows[row].exact_from;
  if (!(from < INFINITY)) return;
  const ExactClasses exact = exact_classes(loss);
  const double offset = exact.offset(1);
  float* const cosines = chunk.cosines + i * chunk.count;
  const unsigned lane = threadIdx.x % kWarpSize;
  for (std::size_t base = threadIdx.x - lane; base < chunk.count; base += blockDim.x) {
    const std::size_t own = base + lane;
    bool is_large = false;
    if (own < chunk.count) {
      is_large = cosines[own] >= from + (prototypes.reference == nullptr
                                             ? offset
                                             : exact.offset(prototypes.measure(chunk.begin + own)));
    }
    unsigned left = __ballot_sync(kFullMask, is_large);
    while (left != 0) {
      // One for each half of the warp, or the same for both.
      const auto first = static_cast<unsigned>(__ffs(static_cast<int>(left)) - 1);
      left &= left - 1;
      const auto second =
          left == 0 ? first : static_cast<unsigned>(__ffs(static_cast<int>(left)) - 1);
      left &= left - 1;
      const std::size_t j = base + (lane < kDotLanes ? first : second);
      const std::size_t identity = chunk.begin + j;
      double cosine = exact_cosine(prototypes, batch, row, identity);
      if (lane % kDotLanes != 0 || (lane > 0 && second == first)) continue;
      top.for_row(row, [&](std::int32_t of_top) {
        if (static_cast<std::size_t>(of_top) == prototypes.class_of(identity)) {
          cosine += top.penalty;
        }
      });
      cosines[j] = static_cast<float>(cosine);
    }
    __syncwarp();
  }
}

void sharpen(const HeadCall& call, const ChunkArrays& chunk) {
  launch(call.context, "sharpen_kernel", &sharpen_kernel,
         {static_cast<unsigned>(chunk.rows), kChunkThreads}, call.loss, call.prototypes, call.batch,
         call.top, call.rows, chunk);
}

}  // namespace

DenseChunks::DenseChunks(const HeadCall& call, const std::vector<std::uint32_t>& dense_rows)
    : rows_(dense_rows.size()),
      most_classes_(std::min(chunk_identities(rows_, call.batch.dim, call.prototypes.sub_centres),
                             call.prototypes.identities)),
      indices_(call.context, call.scratch, rows_),
      cosines_(call.context, call.scratch, rows_ * most_classes_) {
  indices_.upload(dense_rows.data());
  products_ = chunk_products(call, indices_.data(), rows_, most_classes_);
}

ChunkArrays DenseChunks::cosines(const HeadCall& call, std::size_t begin) {
  const std::size_t count = std::min(most_classes_, call.prototypes.identities - begin);
  products_->cosines(begin, count, cosines_.data());
  const std::size_t sub_centres = call.prototypes.sub_centres;
  const ChunkArrays chunk{indices_.data(), cosines_.data(), rows_,
                          begin,           count,           sum_identities(sub_centres)};
  const auto rows = static_cast<unsigned>(rows_);
  if (call.top.count > 0) {
    launch(call.context, "penalty_kernel", &penalty_kernel, {rows, 32}, call.top, chunk,
           sub_centres);
  }
  sharpen(call, chunk);
  if (sub_centres > 1) {
    launch(call.context, "best_sub_centres_kernel", &best_sub_centres_kernel, {rows, kChunkThreads},
           chunk, sub_centres);
  }
  return chunk;
}

// Which sub-centre is the best is seen among exact cosines.
void DenseChunks::sharpen_again(const HeadCall& call, const ChunkArrays& chunk) {
  if (call.prototypes.sub_centres > 1) {
    cosines(call, chunk.begin);
  } else {
    sharpen(call, chunk);
  }
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
