// Softmax of rows over chunks of classes, on the device: one pass, with a running maximum and sum
// of the classes other than the target.
//
// Shapes: cosines of a chunk [R, count]; one block per row and chunk. Accumulation: float64 over
// 4096 classes at a time, in order. Traffic: the prototypes once; no [B, C] array exists.

#include "cuda/block_reduce.cuh"
#include "cuda/head/dense_chunks.h"
#include "cuda/launch.h"
#include "cuda/row_solver.cuh"
#include "math/label_smoothing.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

struct SoftmaxState {
  double largest;  // of the logits so far
  double total;    // Σ exp
  double logits;   // Σ θ + log q, for label smoothing
};

__global__ void begin_kernel(SoftmaxState* states, std::size_t rows) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < rows) states[i] = {-INFINITY, 0, 0};
}

__global__ void __launch_bounds__(kChunkThreads)
    softmax_chunk_kernel(DeviceLoss loss, PrototypeArrays prototypes, ChunkArrays chunk,
                         std::uint64_t only_first, const RowState* rows, SoftmaxState* states) {
  const std::size_t i = blockIdx.x;
  const DenseRow row(chunk, prototypes, i, rows);
  SoftmaxState state = states[i];
  row.for_sums([&](std::size_t first, std::size_t end) {
    if (only_first != 0 && first > 0) return;
    double largest = state.largest;
    for (std::size_t j = first + threadIdx.x; j < end; j += blockDim.x) {
      if (row.is_target(j)) continue;
      const double logit = row.logit(loss, j);
      if (logit > largest) largest = logit;
    }
    largest = block_largest(largest);
    if (largest == -INFINITY) return;
    double logits = 0;
    double sum = 0;
    for (std::size_t j = first + threadIdx.x; j < end; j += blockDim.x) {
      if (row.is_target(j)) continue;
      const double logit = row.logit(loss, j);
      sum += short_exp(logit - largest);
      if (loss.smoothing > 0 && logit > -INFINITY) logits += logit;
    }
    sum = block_sum(sum);
    state.logits += block_sum(logits);
    state.total =
        (state.largest == -INFINITY ? 0.0 : state.total * exp(state.largest - largest)) + sum;
    state.largest = largest;
  });
  if (threadIdx.x == 0) states[i] = state;
}

// What all classes so far and the target add up to.
struct SoftmaxTotal {
  double largest;
  double others;
  double own;

  __device__ SoftmaxTotal(const DeviceLoss& loss, const RowState& row, const SoftmaxState& state)
      : largest(state.largest), others(0), own(0) {
    if (row.label >= 0) {
      const double logit = target_logit(loss, row.target);
      if (logit > largest) largest = logit;
      own = exp(logit - largest);
    }
    if (state.total > 0) others = state.total * exp(state.largest - largest);
  }
  __device__ double all() const { return others + own; }
  __device__ RowSolution solution(const DeviceLoss& loss) const {
    return {largest / loss.scale, log(all()), 0, 0};
  }
};

// From which cosine on posteriors are large, by the classes so far.
__global__ void exact_from_kernel(DeviceLoss loss, const std::uint32_t* indices, std::size_t count,
                                  const SoftmaxState* states, RowState* rows) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  RowState& row = rows[indices[i]];
  row.exact_from = exact_classes(loss).from(SoftmaxTotal(loss, row, states[i]).solution(loss));
}

__global__ void softmax_finish_kernel(DeviceLoss loss, const std::uint32_t* indices,
                                      std::size_t count, std::size_t classes,
                                      const SoftmaxState* states, RowState* rows) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  RowState& row = rows[indices[i]];
  const SoftmaxTotal total(loss, row, states[i]);
  if (row.label >= 0) {
    row.smoothing = smoothing_loss(loss.smoothing, static_cast<double>(classes),
                                   target_logit(loss, row.target), states[i].logits);
  }
  row.solution = total.solution(loss);
  row.support = static_cast<std::int64_t>(classes);
  row.others = total.others / total.all();
  row.own = total.own / total.all();
}

}  // namespace

void solve_softmax(const HeadCall& call, DenseChunks& chunks) {
  DeviceContext& context = call.context;
  const std::size_t rows = chunks.rows();
  const LaunchShape per_row{blocks_for(rows, kChunkThreads), kChunkThreads};
  const LaunchShape per_chunk{static_cast<unsigned>(rows), kChunkThreads};
  DeviceBuffer<SoftmaxState> states(context, call.scratch, rows);
  const auto begin = [&] {
    launch(context, "begin_kernel", &begin_kernel, per_row, states.data(), rows);
  };
  const auto add = [&](const ChunkArrays& chunk, bool only_first) {
    launch(context, "softmax_chunk_kernel", &softmax_chunk_kernel, per_chunk, call.loss,
           call.prototypes, chunk, only_first ? 1 : 0, call.rows, states.data());
  };
  const auto choose_exact = [&] {
    launch(context, "exact_from_kernel", &exact_from_kernel, per_row, call.loss, chunks.indices(),
           rows, states.data(), call.rows);
  };
  const std::size_t identities = call.prototypes.identities;
  const std::size_t section = section_identities(call.prototypes.sub_centres);
  begin();
  chunks.for_chunks(call, [&](const ChunkArrays& chunk) {
    if (chunk.begin == 0) {
      // Which posteriors are large the first classes must say themselves.
      add(chunk, true);
      choose_exact();
      chunks.sharpen_again(call, chunk);
      begin();
    }
    add(chunk, false);
    const std::size_t end = chunk.begin + chunk.count;
    if (end % section == 0 || end == identities) choose_exact();
  });
  launch(context, "softmax_finish_kernel", &softmax_finish_kernel, per_row, call.loss,
         chunks.indices(), rows, call.prototypes.classes(), states.data(), call.rows);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
