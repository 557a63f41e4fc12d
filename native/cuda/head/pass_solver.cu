// Rows of α > 1 that have more candidates than fit, on the device: the threshold by passes over all
// classes, as in head/pass_solver.cc: first roughly, with float32 cosines, then with the exact ones
// of the largest posteriors.
//
// Shapes: cosines of a chunk [R, count]; one block per row and chunk. Accumulation: float64 over
// 4096 classes at a time, in order. Traffic: the prototypes once per pass; no [B, C] array exists.

#include "cuda/block_reduce.cuh"
#include "cuda/head/dense_chunks.h"
#include "cuda/launch.h"
#include "cuda/row_solver.cuh"
#include "math/threshold_passes.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr double kRoughTolerance = 1e-3;
constexpr int kMostPasses = 1024;

struct PassState {
  double best;     // cosine of the classes other than the target
  double largest;  // over all classes: the zero of the gaps
  double start;    // the first upper bound of the root
  double total;    // Φ so far in this pass
  double slope;
  ThresholdPasses search;
};

__global__ void begin_kernel(PassState* states, std::size_t rows) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= rows) return;
  PassState state{};
  state.best = state.largest = -INFINITY;
  state.start = INFINITY;
  states[i] = state;
}

__global__ void __launch_bounds__(kChunkThreads)
    best_chunk_kernel(PrototypeArrays prototypes, ChunkArrays chunk, const RowState* rows,
                      PassState* states) {
  const std::size_t i = blockIdx.x;
  const DenseRow row(chunk, prototypes, i, rows);
  double best = -INFINITY;
  for (std::size_t j = threadIdx.x; j < chunk.count; j += blockDim.x) {
    if (!row.is_target(j)) best = max(best, row.cosine(j));
  }
  best = block_largest(best);
  if (threadIdx.x == 0) states[i].best = max(states[i].best, best);
}

__global__ void start_kernel(DeviceLoss loss, std::uint64_t has_reference,
                             const std::uint32_t* indices, std::size_t count, const RowState* rows,
                             PassState* states) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  PassState& state = states[i];
  const RowState& row = rows[indices[i]];
  state.largest = row.label >= 0 ? max(state.best, row.target.cosine) : state.best;
  if (row.label >= 0) {
    state.start = start_of(loss.beta * (state.largest - row.target.cosine),
                           row.target.gamma * pow(row.target.measure, -loss.excess));
  }
  if (has_reference == 0) {
    state.start = min(state.start, start_of(loss.beta * (state.largest - state.best), 1));
  }
}

// With measures of their own the best class need not have the least bound.
__global__ void __launch_bounds__(kChunkThreads)
    start_chunk_kernel(DeviceLoss loss, PrototypeArrays prototypes, ChunkArrays chunk,
                       const RowState* rows, PassState* states) {
  const std::size_t i = blockIdx.x;
  const DenseRow row(chunk, prototypes, i, rows);
  const PassState& state = states[i];
  double start = state.start;
  for (std::size_t j = threadIdx.x; j < chunk.count; j += blockDim.x) {
    const double gap = loss.beta * (state.largest - row.cosine(j));
    if (row.is_target(j) || gap >= start) continue;
    start = min(start, start_of(gap, pow(row.measure(j), -loss.excess)));
  }
  start = block_smallest(start);
  if (threadIdx.x == 0) states[i].start = start;
}

__global__ void open_kernel(std::size_t count, PassState* states, std::uint32_t* out_of_range) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  PassState& state = states[i];
  state.search.begin(state.start);
  if (state.start > 0 && state.start < INFINITY) return;
  state.search.settled = 1;
  atomicMin(out_of_range, static_cast<std::uint32_t>(i));
}

__global__ void __launch_bounds__(kChunkThreads)
    pass_chunk_kernel(DeviceLoss loss, PrototypeArrays prototypes, ChunkArrays chunk,
                      const RowState* rows, PassState* states) {
  const std::size_t i = blockIdx.x;
  const PassState state = states[i];
  if (state.search.settled != 0) return;
  const DenseRow row(chunk, prototypes, i, rows);
  const AnyPower power(loss);
  double all = state.total;
  double all_slopes = state.slope;
  row.for_sums([&](std::size_t first, std::size_t end) {
    double total = 0;
    double slope = 0;
    for (std::size_t j = first + threadIdx.x; j < end; j += blockDim.x) {
      const double d = state.search.root - loss.beta * (state.largest - row.cosine(j));
      if (!(d > 0) || row.is_target(j)) continue;
      const double reduced = row.measure(j) * power.reduced(d);
      slope += reduced;
      total += reduced * d;
    }
    all += block_sum(total);
    all_slopes += block_sum(slope);
  });
  if (threadIdx.x != 0) return;
  states[i].total = all;
  states[i].slope = all_slopes;
}

// The end of a pass: the target's term, the next root.
__global__ void advance_kernel(DeviceLoss loss, const std::uint32_t* indices, std::size_t count,
                               double tolerance, const RowState* rows, PassState* states,
                               std::uint32_t* unsettled) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  PassState state = states[i];
  if (state.search.settled != 0) return;
  const RowState& row = rows[indices[i]];
  ThresholdSums sums{state.total, state.slope};
  if (row.label >= 0) {
    const double inverse_gamma = 1 / row.target.gamma;
    const double gap = loss.beta * (state.largest - row.target.cosine);
    const double d = (state.search.root - gap) * inverse_gamma;
    if (d > 0) {
      const double reduced = row.target.measure * AnyPower(loss).reduced(d);
      sums.slope += reduced * inverse_gamma;
      sums.total += reduced * d;
    }
  }
  state.search.step(loss.exponent, sums, tolerance);
  state.total = state.slope = 0;
  states[i] = state;
  if (state.search.settled == 0) atomicAdd(unsettled, 1u);
}

__global__ void exact_from_kernel(DeviceLoss loss, const std::uint32_t* indices, std::size_t count,
                                  const PassState* states, RowState* rows) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const PassState& state = states[i];
  rows[indices[i]].exact_from =
      exact_classes(loss).from({state.largest, 0, state.search.result().upper, 0});
}

__global__ void solution_kernel(DeviceLoss loss, const std::uint32_t* indices, std::size_t count,
                                const PassState* states, RowState* rows,
                                std::uint32_t* out_of_range) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const PassState& state = states[i];
  RowState& row = rows[indices[i]];
  const ThresholdRoot root = state.search.result();
  // Powers of what is left of such a root would be infinite.
  if (!(root.upper >= 0x1p-1022 && root.mix < INFINITY)) {
    atomicMin(out_of_range, static_cast<std::uint32_t>(i));
  }
  row.solution = {state.largest, root.lower, root.upper, root.mix};
  row.others = 0;
  row.excess_cosine = 0;
  row.own = row.label >= 0 ? target_posterior(loss, row.solution, row.target) : 0;
  row.support = row.own > 0 ? 1 : 0;
}

__global__ void __launch_bounds__(kChunkThreads)
    moments_chunk_kernel(DeviceLoss loss, PrototypeArrays prototypes, ChunkArrays chunk,
                         RowState* rows) {
  const std::size_t i = blockIdx.x;
  RowState& state = rows[chunk.indices[i]];
  const DenseRow row(chunk, prototypes, i, rows);
  const RowSolution solution = state.solution;
  const double target = state.target.cosine;
  row.for_sums([&](std::size_t first, std::size_t end) {
    double others = 0;
    double excess = 0;
    std::int64_t support = 0;
    for (std::size_t j = first + threadIdx.x; j < end; j += blockDim.x) {
      if (row.is_target(j)) continue;
      const double cosine = row.cosine(j);
      const double p = posterior_of(loss, solution, cosine, row.measure(j));
      if (!(p > 0)) continue;
      others += p;
      excess += p * (cosine - target);
      ++support;
    }
    others = block_sum(others);
    excess = block_sum(excess);
    support = block_sum(support);
    if (threadIdx.x != 0) return;
    state.others += others;
    state.excess_cosine += excess;
    state.support += support;
  });
}

class PassSolver {
 public:
  PassSolver(const HeadCall& call, DenseChunks& chunks)
      : call_(call),
        chunks_(chunks),
        states_(call.context, call.scratch, chunks.rows()),
        flag_(call.context, call.scratch, 1) {}

  void solve() {
    search(kRoughTolerance);
    launch(call_.context, "exact_from_kernel", &exact_from_kernel, per_row(), call_.loss,
           chunks_.indices(), rows(), states_.data(), call_.rows);
    search(0);
    flag_.fill_bytes(0xff);
    launch(call_.context, "solution_kernel", &solution_kernel, per_row(), call_.loss,
           chunks_.indices(), rows(), states_.data(), call_.rows, flag_.data());
    throw_if_flagged([](const PassState& state) { return state.search.result().upper; });
    chunks_.for_chunks(call_, [&](const ChunkArrays& chunk) {
      launch(call_.context, "moments_chunk_kernel", &moments_chunk_kernel, per_chunk(), call_.loss,
             call_.prototypes, chunk, call_.rows);
    });
  }

 private:
  std::size_t rows() const { return chunks_.rows(); }
  LaunchShape per_row() const { return {blocks_for(rows(), kChunkThreads), kChunkThreads}; }
  LaunchShape per_chunk() const { return {static_cast<unsigned>(rows()), kChunkThreads}; }

  void find_start() {
    DeviceContext& context = call_.context;
    launch(context, "begin_kernel", &begin_kernel, per_row(), states_.data(), rows());
    chunks_.for_chunks(call_, [&](const ChunkArrays& chunk) {
      launch(context, "best_chunk_kernel", &best_chunk_kernel, per_chunk(), call_.prototypes, chunk,
             call_.rows, states_.data());
    });
    const bool has_reference = call_.prototypes.reference != nullptr;
    launch(context, "start_kernel", &start_kernel, per_row(), call_.loss, has_reference ? 1 : 0,
           chunks_.indices(), rows(), call_.rows, states_.data());
    if (has_reference) {
      chunks_.for_chunks(call_, [&](const ChunkArrays& chunk) {
        launch(context, "start_chunk_kernel", &start_chunk_kernel, per_chunk(), call_.loss,
               call_.prototypes, chunk, call_.rows, states_.data());
      });
    }
    flag_.fill_bytes(0xff);
    launch(context, "open_kernel", &open_kernel, per_row(), rows(), states_.data(), flag_.data());
    throw_if_flagged([](const PassState& state) { return state.start; });
  }

  void search(double tolerance) {
    DeviceContext& context = call_.context;
    find_start();
    // A pass reads every prototype: whether another is needed is worth a look at the host.
    for (int pass = 0; pass < kMostPasses; ++pass) {
      chunks_.for_chunks(call_, [&](const ChunkArrays& chunk) {
        launch(context, "pass_chunk_kernel", &pass_chunk_kernel, per_chunk(), call_.loss,
               call_.prototypes, chunk, call_.rows, states_.data());
      });
      flag_.fill_bytes(0);
      launch(context, "advance_kernel", &advance_kernel, per_row(), call_.loss, chunks_.indices(),
             rows(), tolerance, call_.rows, states_.data(), flag_.data());
      if (fetch_flag() == 0) break;
    }
  }

  std::uint32_t fetch_flag() {
    std::uint32_t flag = 0;
    const StreamDrain drain(call_.context);
    flag_.download(&flag);
    call_.context.synchronize();
    return flag;
  }

  // The error of the first row whose measures leave float64; the flag holds its place.
  template <class Root>
  void throw_if_flagged(const Root& root_of) {
    const std::uint32_t place = fetch_flag();
    if (place >= rows()) return;
    PassState state;
    const StreamDrain drain(call_.context);
    call_.context.download(&state, states_.data() + place, sizeof state);
    call_.context.synchronize();
    throw out_of_range(root_of(state));
  }

  const HeadCall& call_;
  DenseChunks& chunks_;
  DeviceBuffer<PassState> states_;
  DeviceBuffer<std::uint32_t> flag_;
};

}  // namespace

void solve_by_passes(const HeadCall& call, DenseChunks& chunks) {
  PassSolver(call, chunks).solve();
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
