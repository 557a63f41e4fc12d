#include "cpu/row_solver.h"
#include "cuda/solve_rows.h"
#include "math/threshold_passes.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

// Up to so many slices one block solves a row by itself.
constexpr std::size_t kMostSlicesOfBlock = 2;

struct ElementCosine {
  const RowProblem& problem;
  std::size_t row;
  __device__ double operator()(std::size_t j) const { return problem.cosine(row, j); }
};
struct ElementMeasure {
  const RowProblem& problem;
  __device__ double operator()(std::size_t j) const { return problem.measure(j); }
};

__global__ void __launch_bounds__(kRowThreads)
    solve_block_kernel(RowProblem problem, RowSolution* solutions, std::uint32_t* out_of_range) {
  const std::size_t row = blockIdx.x;
  if (problem.ignored(row)) {
    if (threadIdx.x == 0) solutions[row] = {};
    return;
  }
  bool outside = false;
  const RowSolution solution =
      solve_row(problem.loss, problem.target(row), problem.slices.classes, problem.skip(row),
                problem.reference != nullptr, ElementCosine{problem, row}, ElementMeasure{problem},
                0, outside);
  if (threadIdx.x != 0) return;
  solutions[row] = solution;
  if (outside) atomicMin(out_of_range, static_cast<std::uint32_t>(row));
}

// What a slice adds to a pass.
struct SlicePart {
  double first;   // largest cosine; softmax: largest logit; a pass: Φ
  double second;  // best lower bound of the threshold; softmax: Σ exp; a pass: Φ'/k
};

// A row between passes.
struct PassState {
  double best;     // cosine of the classes other than the target
  double largest;  // over all classes: the zero of the gaps
  double start;    // the first upper bound of the root
  ThresholdPasses search;
};

__global__ void __launch_bounds__(kRowThreads)
    softmax_slice_kernel(RowProblem problem, SlicePart* parts) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  if (problem.ignored(row)) return;
  const std::size_t skip = problem.skip(row);
  double largest = -INFINITY;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    if (j == skip) continue;
    const double logit = problem.logit(row, j);
    if (logit > largest) largest = logit;
  }
  largest = block_largest(largest);
  double total = 0;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    if (j == skip) continue;
    const double logit = problem.logit(row, j);
    total += short_exp(logit - largest);
  }
  total = block_sum(total);
  if (threadIdx.x == 0) parts[slices.place()] = {largest, total};
}

__global__ void softmax_combine_kernel(RowProblem problem, const SlicePart* parts,
                                       RowSolution* solutions) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= problem.slices.rows) return;
  if (problem.ignored(row)) {
    solutions[row] = {};
    return;
  }
  const SlicePart* own = parts + row * problem.slices.slices;
  const DeviceTarget target = problem.target(row);
  double largest = -INFINITY;
  for (std::size_t s = 0; s < problem.slices.slices; ++s) {
    if (own[s].first > largest) largest = own[s].first;
  }
  double own_logit = 0;
  if (target.present != 0) {
    own_logit = target_logit(problem.loss, target);
    if (own_logit > largest) largest = own_logit;
  }
  double total = 0;
  for (std::size_t s = 0; s < problem.slices.slices; ++s) {
    // A slice of the target alone has nothing.
    if (own[s].first > -INFINITY) total += own[s].second * exp(own[s].first - largest);
  }
  if (target.present != 0) total += exp(own_logit - largest);
  solutions[row] = {largest / problem.loss.beta, log(total), 0, 0};
}

__global__ void __launch_bounds__(kRowThreads)
    best_slice_kernel(RowProblem problem, SlicePart* parts) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  if (problem.ignored(row)) return;
  const std::size_t skip = problem.skip(row);
  double best = -INFINITY;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    if (j != skip) best = max(best, problem.cosine(row, j));
  }
  best = block_largest(best);
  if (threadIdx.x == 0) parts[slices.place()] = {best, 0};
}

// The largest cosine, and the bound of the root from the target and, where all measures are 1, from
// the best class.
__global__ void start_kernel(RowProblem problem, const SlicePart* parts, PassState* states) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= problem.slices.rows) return;
  PassState state{};
  if (problem.ignored(row)) {
    state.search.settled = 1;
    states[row] = state;
    return;
  }
  const DeviceLoss& loss = problem.loss;
  const SlicePart* own = parts + row * problem.slices.slices;
  state.best = -INFINITY;
  for (std::size_t s = 0; s < problem.slices.slices; ++s)
    state.best = max(state.best, own[s].first);
  const DeviceTarget target = problem.target(row);
  state.largest = target.present != 0 ? max(state.best, target.cosine) : state.best;
  state.start = INFINITY;
  if (target.present != 0) {
    state.start = start_of(loss.beta * (state.largest - target.cosine),
                           target.gamma * pow(target.measure, -loss.excess));
  }
  if (problem.reference == nullptr) {
    state.start = min(state.start, start_of(loss.beta * (state.largest - state.best), 1));
  }
  states[row] = state;
}

// With measures of their own the best class need not have the least bound.
__global__ void __launch_bounds__(kRowThreads)
    start_slice_kernel(RowProblem problem, const PassState* states, SlicePart* parts) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  if (problem.ignored(row)) return;
  const std::size_t skip = problem.skip(row);
  const double largest = states[row].largest;
  double start = states[row].start;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    const double gap = problem.loss.beta * (largest - problem.cosine(row, j));
    if (j == skip || gap >= start) continue;
    start = min(start, start_of(gap, pow(problem.measure(j), -problem.loss.excess)));
  }
  start = block_smallest(start);
  if (threadIdx.x == 0) parts[slices.place()] = {start, 0};
}

__global__ void open_kernel(RowProblem problem, const SlicePart* parts, PassState* states,
                            RowSolution* solutions, std::uint32_t* out_of_range) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= problem.slices.rows) return;
  if (problem.ignored(row)) {
    solutions[row] = {};
    return;
  }
  PassState& state = states[row];
  if (problem.reference != nullptr) {
    const SlicePart* own = parts + row * problem.slices.slices;
    for (std::size_t s = 0; s < problem.slices.slices; ++s) {
      state.start = min(state.start, own[s].first);
    }
  }
  state.search.begin(state.start);
  if (state.start > 0 && state.start < INFINITY) return;
  state.search.settled = 1;
  solutions[row] = {state.largest, state.start, state.start, 0};  // what the message says
  atomicMin(out_of_range, static_cast<std::uint32_t>(row));
}

__global__ void __launch_bounds__(kRowThreads)
    pass_slice_kernel(RowProblem problem, const PassState* states, SlicePart* parts) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  const PassState state = states[row];
  if (state.search.settled != 0) return;
  const std::size_t skip = problem.skip(row);
  const AnyPower power(problem.loss);
  double total = 0;
  double slope = 0;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    if (j == skip) continue;
    const double d =
        state.search.root - problem.loss.beta * (state.largest - problem.cosine(row, j));
    if (!(d > 0)) continue;
    const double reduced = problem.measure(j) * power.reduced(d);
    slope += reduced;
    total += reduced * d;
  }
  total = block_sum(total);
  slope = block_sum(slope);
  if (threadIdx.x == 0) parts[slices.place()] = {total, slope};
}

// The end of a pass: the target's term, the next root.
__global__ void pass_kernel(RowProblem problem, const SlicePart* parts, PassState* states,
                            RowSolution* solutions, std::uint32_t* unsettled) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= problem.slices.rows) return;
  PassState state = states[row];
  if (state.search.settled != 0) return;
  const SlicePart* own = parts + row * problem.slices.slices;
  const DeviceLoss& loss = problem.loss;
  ThresholdSums sums{0, 0};
  for (std::size_t s = 0; s < problem.slices.slices; ++s) {
    sums.total += own[s].first;
    sums.slope += own[s].second;
  }
  const DeviceTarget target = problem.target(row);
  if (target.present != 0) {
    const double inverse_gamma = 1 / target.gamma;
    const double gap = loss.beta * (state.largest - target.cosine);
    const double d = (state.search.root - gap) * inverse_gamma;
    if (d > 0) {
      const double reduced = target.measure * AnyPower(loss).reduced(d);
      sums.slope += reduced * inverse_gamma;
      sums.total += reduced * d;
    }
  }
  state.search.step(loss.exponent, sums, 0);
  const ThresholdRoot root = state.search.result();
  solutions[row] = {state.largest, root.lower, root.upper, root.mix};
  states[row] = state;
  if (state.search.settled == 0) atomicAdd(unsettled, 1u);
}

__global__ void __launch_bounds__(kRowThreads)
    check_rows_kernel(RowSlices slices, Elements values, float largest, const std::int32_t* labels,
                      std::uint32_t* first_bad) {
  const std::size_t row = slices.row();
  if (labels != nullptr && labels[row] == kIgnoredLabel) return;
  bool bad = false;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    // False for NaN too.
    bad = bad || !(fabsf(values.at(row * slices.classes + j)) <= largest);
  }
  if (bad) atomicMin(first_bad, static_cast<std::uint32_t>(row));
}

void solve_long_rows(DeviceContext& context, MemoryAccount& scratch, const RowProblem& problem,
                     RowSolution* solutions, std::uint32_t* out_of_range) {
  const RowSlices& slices = problem.slices;
  const LaunchShape per_row{blocks_for(slices.rows, kRowThreads), kRowThreads};
  DeviceBuffer<SlicePart> parts(context, scratch, slices.count());
  if (problem.loss.is_softmax()) {
    launch(context, "softmax_slice_kernel", &softmax_slice_kernel, slices.shape(), problem,
           parts.data());
    launch(context, "softmax_combine_kernel", &softmax_combine_kernel, per_row, problem,
           parts.data(), solutions);
    return;
  }
  DeviceBuffer<PassState> states(context, scratch, slices.rows);
  DeviceBuffer<std::uint32_t> unsettled(context, scratch, 1);
  launch(context, "best_slice_kernel", &best_slice_kernel, slices.shape(), problem, parts.data());
  launch(context, "start_kernel", &start_kernel, per_row, problem, parts.data(), states.data());
  if (problem.reference != nullptr) {
    launch(context, "start_slice_kernel", &start_slice_kernel, slices.shape(), problem,
           states.data(), parts.data());
  }
  launch(context, "open_kernel", &open_kernel, per_row, problem, parts.data(), states.data(),
         solutions, out_of_range);
  // Newton's method needs about ten passes; the bracket of α > 2 some dozens.
  constexpr int kPassesPerLook = 12;
  constexpr int kMostLooks = 400;
  for (int look = 0; look < kMostLooks; ++look) {
    std::uint32_t left = 0;
    for (int pass = 0; pass < kPassesPerLook; ++pass) {
      unsettled.fill_bytes(0);
      launch(context, "pass_slice_kernel", &pass_slice_kernel, slices.shape(), problem,
             states.data(), parts.data());
      launch(context, "pass_kernel", &pass_kernel, per_row, problem, parts.data(), states.data(),
             solutions, unsettled.data());
    }
    unsettled.download(&left);
    context.synchronize();
    if (left == 0) return;
  }
}

}  // namespace

void solve_rows(DeviceContext& context, MemoryAccount& scratch, const RowProblem& problem,
                RowSolution* solutions, std::uint32_t* out_of_range) {
  if (problem.slices.slices > kMostSlicesOfBlock) {
    solve_long_rows(context, scratch, problem, solutions, out_of_range);
    return;
  }
  launch(context, "solve_block_kernel", &solve_block_kernel,
         {static_cast<unsigned>(problem.slices.rows), kRowThreads}, problem, solutions,
         out_of_range);
}

void check_rows(DeviceContext& context, const RowSlices& slices, const Elements& values,
                float largest, std::uint32_t* first_bad, const std::int32_t* labels) {
  launch(context, "check_rows_kernel", &check_rows_kernel, slices.shape(), slices, values, largest,
         labels, first_bad);
}

Failure out_of_range_failure(DeviceContext& context, const RowSolution* solutions,
                             std::size_t row) {
  RowSolution solution;
  context.download(&solution, solutions + row, sizeof solution);
  context.synchronize();
  return out_of_range(solution.upper);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
