// Rows that touch most classes (softmax, or supports beyond the scratch budget), on the device: the
// classes stream past in chunks, once or a few times to solve, once more for the moments.
//
// Shapes: cosines of a chunk [R, 4096]; one block per row and chunk. Accumulation: float64, chunks
// in order. Traffic: the prototypes once per pass; no [B, C] array exists.

#include "cuda/block_reduce.cuh"
#include "cuda/head/dense_chunks.h"
#include "cuda/launch.h"
#include "cuda/row_solver.cuh"
#include "math/label_smoothing.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr double kPassTolerance = 1e-12;
constexpr int kMostPasses = 256;

// A dense row between chunks and passes. Softmax: running maximum and sum of the classes other than
// the target. α > 1: Newton's proposals inside a bracket (math/threshold.h without stored classes).
struct DenseState {
  double largest;  // of the cosines, the zero of the gaps; softmax: of the logits
  double bound;    // best lower bound of the threshold
  double lower;
  double upper;
  double root;
  double total;  // Φ so far in this pass; softmax: Σ exp
  double slope;
  double logits;  // softmax: Σ θ + log q so far, for label smoothing
  double total_lower;
  double total_upper;
  std::int64_t settled;
};

__global__ void begin_kernel(DenseState* states, std::size_t rows) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= rows) return;
  DenseState state{};
  state.largest = -INFINITY;
  state.bound = -INFINITY;
  states[i] = state;
}

__global__ void __launch_bounds__(kChunkThreads)
    softmax_chunk_kernel(DeviceLoss loss, PrototypeArrays prototypes, ChunkArrays chunk,
                         const RowState* rows, DenseState* states) {
  const std::size_t i = blockIdx.x;
  const DenseRow row{chunk, prototypes, i, rows[chunk.indices[i]].label};
  const double before = states[i].largest;
  double largest = before;
  for (std::size_t j = threadIdx.x; j < chunk.count; j += blockDim.x) {
    if (row.is_target(j)) continue;
    const double logit = row.logit(loss, j);
    if (logit > largest) largest = logit;
  }
  largest = block_largest(largest);
  if (largest == -INFINITY) return;
  double logits = 0;
  double sum = 0;
  for (std::size_t j = threadIdx.x; j < chunk.count; j += blockDim.x) {
    if (row.is_target(j)) continue;
    const double logit = row.logit(loss, j);
    sum += short_exp(logit - largest);
    if (loss.smoothing > 0) logits += logit;
  }
  sum = block_sum(sum);
  logits = block_sum(logits);
  if (threadIdx.x != 0) return;
  states[i].logits += logits;
  states[i].total = (before == -INFINITY ? 0.0 : states[i].total * exp(before - largest)) + sum;
  states[i].largest = largest;
}

__global__ void softmax_finish_kernel(DeviceLoss loss, const std::uint32_t* indices,
                                      std::size_t count, std::size_t identities,
                                      const DenseState* states, RowState* rows) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const DenseState state = states[i];
  RowState& row = rows[indices[i]];
  double largest = state.largest;
  double own = 0;
  if (row.label >= 0) {
    const double logit = target_logit(loss, row.target);
    if (logit > largest) largest = logit;
    own = exp(logit - largest);
    row.smoothing =
        smoothing_loss(loss.smoothing, static_cast<double>(identities), logit, state.logits);
  }
  const double others = state.total > 0 ? state.total * exp(state.largest - largest) : 0.0;
  const double total = others + own;
  row.solution = {largest / loss.scale, log(total), 0, 0};
  row.support = static_cast<std::int64_t>(identities);
  row.others = others / total;
  row.own = own / total;
}

// One class alone has Φ = 1 at d = q^{-(α−1)}, so every c_j − q_j^{-(α−1)}/β is a lower bound of
// the threshold in units of cosines; the largest of them is the first bracket.
__global__ void __launch_bounds__(kChunkThreads)
    bracket_chunk_kernel(DeviceLoss loss, PrototypeArrays prototypes, ChunkArrays chunk,
                         const RowState* rows, DenseState* states) {
  const std::size_t i = blockIdx.x;
  const DenseRow row{chunk, prototypes, i, rows[chunk.indices[i]].label};
  double largest = -INFINITY;
  double bound = -INFINITY;
  for (std::size_t j = threadIdx.x; j < chunk.count; j += blockDim.x) {
    if (row.is_target(j)) continue;
    const double cosine = row.cosine(j);
    const double alone = prototypes.reference == nullptr ? 1.0 : pow(row.measure(j), -loss.excess);
    if (cosine > largest) largest = cosine;
    if (cosine - alone / loss.beta > bound) bound = cosine - alone / loss.beta;
  }
  largest = block_largest(largest);
  bound = block_largest(bound);
  if (threadIdx.x != 0) return;
  if (largest > states[i].largest) states[i].largest = largest;
  if (bound > states[i].bound) states[i].bound = bound;
}

// The first bracket, in units of gaps. A d below the last digit of a gap must not be lost, so
// bounds of a class that is not the best are rounded up; those of the best are exact, and with them
// supports whose threshold meets a class.
__global__ void bracket_kernel(DeviceLoss loss, std::uint64_t has_reference,
                               const std::uint32_t* indices, std::size_t count,
                               const RowState* rows, DenseState* states,
                               std::uint32_t* out_of_range) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  DenseState state = states[i];
  const RowState& row = rows[indices[i]];
  const double best = state.largest;
  if (row.label >= 0 && row.target.cosine > best) state.largest = row.target.cosine;
  if (has_reference != 0) {
    state.upper = loss.beta * (state.largest - state.bound) * (1 + 0x1p-50);
  } else {
    state.upper = loss.beta * (state.largest - best) + 1;
    if (state.largest > best) state.upper *= 1 + 0x1p-51;
  }
  if (row.label >= 0) {
    double bound = loss.beta * (state.largest - row.target.cosine) +
                   row.target.gamma * pow(row.target.measure, -loss.excess);
    if (state.largest > row.target.cosine || row.target.measure > 1) bound *= 1 + 0x1p-51;
    if (bound < state.upper) state.upper = bound;
  }
  state.root = state.upper;
  if (!(state.upper > 0 && state.upper < INFINITY)) {
    state.settled = 1;
    atomicMin(out_of_range, static_cast<std::uint32_t>(i));
  }
  states[i] = state;
}

__global__ void __launch_bounds__(kChunkThreads)
    pass_chunk_kernel(DeviceLoss loss, PrototypeArrays prototypes, ChunkArrays chunk,
                      const RowState* rows, DenseState* states) {
  const std::size_t i = blockIdx.x;
  const DenseState state = states[i];
  if (state.settled != 0) return;
  const DenseRow row{chunk, prototypes, i, rows[chunk.indices[i]].label};
  const AnyPower power(loss);
  double total = 0;
  double slope = 0;
  for (std::size_t j = threadIdx.x; j < chunk.count; j += blockDim.x) {
    if (row.is_target(j)) continue;
    const double d = state.root - loss.beta * (state.largest - row.cosine(j));
    if (!(d > 0)) continue;
    const double reduced = row.measure(j) * power.reduced(d);
    slope += reduced;
    total += reduced * d;
  }
  total = block_sum(total);
  slope = block_sum(slope);
  if (threadIdx.x != 0) return;
  states[i].total = state.total + total;
  states[i].slope = state.slope + slope;
}

// The end of a pass: the target's term, the bracket, the next root.
__global__ void advance_kernel(DeviceLoss loss, const std::uint32_t* indices, std::size_t count,
                               const RowState* rows, DenseState* states, std::uint32_t* unsettled) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  DenseState state = states[i];
  if (state.settled != 0) return;
  const RowState& row = rows[indices[i]];
  if (row.label >= 0) {
    const double inverse_gamma = 1 / row.target.gamma;
    const double d = (state.root - loss.beta * (state.largest - row.target.cosine)) * inverse_gamma;
    if (d > 0) {
      const double reduced = row.target.measure * AnyPower(loss).reduced(d);
      state.slope += reduced * inverse_gamma;
      state.total += reduced * d;
    }
  }
  if (state.total >= 1) {
    state.upper = state.root;
    state.total_upper = state.total;
  } else {
    state.lower = state.root;
    state.total_lower = state.total;
  }
  bool settled = state.total == 1 || state.upper - state.lower <= kPassTolerance * state.upper;
  if (!settled) {
    double next = state.root;
    if (state.total > 0) next -= newton_step(loss.exponent, {state.total, state.slope});
    settled =
        loss.is_convex() && state.total >= 1 && state.root - next <= kPassTolerance * state.root;
    if (!settled && !(next > state.lower && next < state.upper)) {
      next = state.lower + (state.upper - state.lower) / 2;
    }
    if (!settled) state.root = next;
  }
  state.settled = settled ? 1 : 0;
  state.total = 0;
  state.slope = 0;
  states[i] = state;
  if (!settled) atomicAdd(unsettled, 1u);
}

__global__ void solution_kernel(DeviceLoss loss, const std::uint32_t* indices, std::size_t count,
                                const DenseState* states, RowState* rows) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const DenseState state = states[i];
  RowState& row = rows[indices[i]];
  const double gap = state.total_upper - state.total_lower;
  row.solution = loss.is_convex() ? RowSolution{state.largest, state.upper, state.upper, 0}
                                  : RowSolution{state.largest, state.lower, state.upper,
                                                gap > 0 ? (1 - state.total_lower) / gap : 0};
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
  const DenseRow row{chunk, prototypes, i, state.label};
  const RowSolution solution = state.solution;
  const double target = state.target.cosine;
  double others = 0;
  double excess = 0;
  std::int64_t support = 0;
  for (std::size_t j = threadIdx.x; j < chunk.count; j += blockDim.x) {
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
}

__global__ void losses_kernel(DeviceLoss loss, std::size_t identities, RowState* rows,
                              std::size_t count) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  RowState& row = rows[i];
  if (row.label < 0) return;
  row.pull = target_pull(loss.smoothing, static_cast<double>(identities), row.others);
  row.loss = row.smoothing;
  if (!(row.others > 0)) return;
  row.loss += loss_of(loss, row.target, row.solution, loss.scale * row.excess_cosine);
}

class DenseSolver {
 public:
  DenseSolver(const HeadCall& call, const std::vector<std::uint32_t>& dense_rows)
      : call_(call),
        chunks_(call, dense_rows),
        states_(call.context, call.scratch, dense_rows.size()) {
    launch(call.context, "begin_kernel", &begin_kernel, per_row(), states_.data(), rows());
  }

  void solve() {
    if (call_.loss.is_softmax()) {
      solve_softmax();
    } else {
      solve_threshold();
      chunks_.for_chunks(call_, [&](const ChunkArrays& chunk) {
        launch(call_.context, "moments_chunk_kernel", &moments_chunk_kernel, per_chunk(),
               call_.loss, call_.prototypes, chunk, call_.rows);
      });
    }
  }

 private:
  std::size_t rows() const { return chunks_.rows(); }
  LaunchShape per_row() const { return {blocks_for(rows(), kChunkThreads), kChunkThreads}; }
  LaunchShape per_chunk() const { return {static_cast<unsigned>(rows()), kChunkThreads}; }

  void solve_softmax() {
    chunks_.for_chunks(call_, [&](const ChunkArrays& chunk) {
      launch(call_.context, "softmax_chunk_kernel", &softmax_chunk_kernel, per_chunk(), call_.loss,
             call_.prototypes, chunk, call_.rows, states_.data());
    });
    launch(call_.context, "softmax_finish_kernel", &softmax_finish_kernel, per_row(), call_.loss,
           chunks_.indices(), rows(), call_.prototypes.identities, states_.data(), call_.rows);
  }

  void solve_threshold() {
    DeviceContext& context = call_.context;
    DeviceBuffer<std::uint32_t> flags(context, call_.scratch, 1);
    chunks_.for_chunks(call_, [&](const ChunkArrays& chunk) {
      launch(context, "bracket_chunk_kernel", &bracket_chunk_kernel, per_chunk(), call_.loss,
             call_.prototypes, chunk, call_.rows, states_.data());
    });
    flags.fill_bytes(0xff);
    launch(context, "bracket_kernel", &bracket_kernel, per_row(), call_.loss,
           call_.prototypes.reference != nullptr ? 1 : 0, chunks_.indices(), rows(), call_.rows,
           states_.data(), flags.data());
    std::uint32_t outside = 0;
    flags.download(&outside);
    context.synchronize();
    if (outside < rows()) {
      DenseState state;
      context.download(&state, states_.data() + outside, sizeof state);
      context.synchronize();
      throw out_of_range(state.upper);
    }
    // A pass reads every prototype: whether another is needed is worth a look at the host.
    for (int pass = 0; pass < kMostPasses; ++pass) {
      chunks_.for_chunks(call_, [&](const ChunkArrays& chunk) {
        launch(context, "pass_chunk_kernel", &pass_chunk_kernel, per_chunk(), call_.loss,
               call_.prototypes, chunk, call_.rows, states_.data());
      });
      flags.fill_bytes(0);
      launch(context, "advance_kernel", &advance_kernel, per_row(), call_.loss, chunks_.indices(),
             rows(), call_.rows, states_.data(), flags.data());
      std::uint32_t unsettled = 0;
      flags.download(&unsettled);
      context.synchronize();
      if (unsettled == 0) break;
    }
    launch(context, "solution_kernel", &solution_kernel, per_row(), call_.loss, chunks_.indices(),
           rows(), states_.data(), call_.rows);
  }

  const HeadCall& call_;
  DenseChunks chunks_;
  DeviceBuffer<DenseState> states_;
};

}  // namespace

void solve_dense_rows(const HeadCall& call, const std::vector<std::uint32_t>& dense_rows) {
  if (dense_rows.empty()) return;
  DenseSolver(call, dense_rows).solve();
}

void finish_losses(const HeadCall& call) {
  launch(call.context, "losses_kernel", &losses_kernel,
         {blocks_for(call.batch.rows, kChunkThreads), kChunkThreads}, call.loss,
         call.prototypes.identities, call.rows, call.batch.rows);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
