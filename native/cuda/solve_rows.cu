#include "cpu/row_solver.h"
#include "cuda/solve_rows.h"

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

// A row between passes (threshold.h without stored candidates).
struct PassState {
  double largest;
  double lower;
  double upper;
  double root;
  double total_lower;
  double total_upper;
  std::int64_t passes;
  std::int64_t settled;
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

// One class alone has Φ = 1 at d = q^{-(α−1)}, so every c_j − q_j^{-(α−1)}/β is a lower bound of
// the threshold in units of cosines.
__global__ void __launch_bounds__(kRowThreads)
    bracket_slice_kernel(RowProblem problem, SlicePart* parts) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  if (problem.ignored(row)) return;
  const std::size_t skip = problem.skip(row);
  double largest = -INFINITY;
  double bound = -INFINITY;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    if (j == skip) continue;
    const double cosine = problem.cosine(row, j);
    const double alone =
        problem.reference == nullptr ? 1.0 : pow(problem.measure(j), -problem.loss.excess);
    if (cosine > largest) largest = cosine;
    if (cosine - alone / problem.loss.beta > bound) bound = cosine - alone / problem.loss.beta;
  }
  largest = block_largest(largest);
  bound = block_largest(bound);
  if (threadIdx.x == 0) parts[slices.place()] = {largest, bound};
}

__global__ void bracket_kernel(RowProblem problem, const SlicePart* parts, PassState* states,
                               RowSolution* solutions, std::uint32_t* out_of_range) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= problem.slices.rows) return;
  if (problem.ignored(row)) {
    PassState state{};
    state.settled = 1;
    states[row] = state;
    solutions[row] = {};
    return;
  }
  const SlicePart* own = parts + row * problem.slices.slices;
  double largest = -INFINITY;
  double bound = -INFINITY;
  for (std::size_t s = 0; s < problem.slices.slices; ++s) {
    if (own[s].first > largest) largest = own[s].first;
    if (own[s].second > bound) bound = own[s].second;
  }
  const DeviceTarget target = problem.target(row);
  if (target.present != 0) {
    const double alone = target.gamma * pow(target.measure, -problem.loss.excess);
    const double own_bound = target.cosine - alone / problem.loss.beta;
    if (own_bound > bound) bound = own_bound;
    if (target.cosine > largest) largest = target.cosine;
  }
  PassState state{};
  state.largest = largest;
  // Rounded up: an upper bound of the root must not lose its last digit.
  state.upper = problem.loss.beta * (largest - bound) * (1 + 0x1p-50);
  state.root = state.upper;
  if (!(state.upper > 0 && state.upper < INFINITY)) {
    state.settled = 1;
    solutions[row] = {largest, state.upper, state.upper, 0};  // what the message says
    atomicMin(out_of_range, static_cast<std::uint32_t>(row));
  }
  states[row] = state;
}

__global__ void __launch_bounds__(kRowThreads)
    pass_slice_kernel(RowProblem problem, const PassState* states, SlicePart* parts) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  const PassState state = states[row];
  if (state.settled != 0) return;
  const std::size_t skip = problem.skip(row);
  const AnyPower power(problem.loss);
  double total = 0;
  double slope = 0;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    if (j == skip) continue;
    const double d = state.root - problem.loss.beta * (state.largest - problem.cosine(row, j));
    if (!(d > 0)) continue;
    const double reduced = problem.measure(j) * power.reduced(d);
    slope += reduced;
    total += reduced * d;
  }
  total = block_sum(total);
  slope = block_sum(slope);
  if (threadIdx.x == 0) parts[slices.place()] = {total, slope};
}

// Newton's proposal inside the bracket; see solve_convex and solve_bracketed of threshold.h.
__global__ void pass_kernel(RowProblem problem, const SlicePart* parts, PassState* states,
                            RowSolution* solutions, std::uint32_t* unsettled) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= problem.slices.rows) return;
  PassState state = states[row];
  if (state.settled != 0) return;
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
    const double d = (state.root - loss.beta * (state.largest - target.cosine)) * inverse_gamma;
    if (d > 0) {
      const double reduced = target.measure * AnyPower(loss).reduced(d);
      sums.slope += reduced * inverse_gamma;
      sums.total += reduced * d;
    }
  }
  if (sums.total >= 1) {
    state.upper = state.root;
    state.total_upper = sums.total;
  } else {
    state.lower = state.root;
    state.total_lower = sums.total;
  }
  const double proposal =
      sums.total > 0 ? state.root - newton_step(loss.exponent, sums) : state.lower;
  if (loss.is_convex()) {
    // From above a step never passes the root; when it no longer moves, it is there.
    state.settled = !(sums.total > 1) || !(proposal < state.root) ? 1 : 0;
    state.root = proposal;
    if (state.settled != 0) solutions[row] = {state.largest, state.upper, state.upper, 0};
    if (state.settled != 0 && sums.total < 1) {
      solutions[row] = {state.largest, state.lower, state.lower, 0};
    }
  } else {
    const double middle = state.lower > 0 ? (state.upper > 4 * state.lower
                                                 ? sqrt(state.lower) * sqrt(state.upper)
                                                 : state.lower + (state.upper - state.lower) / 2)
                                          : state.upper / 1024;
    double next = state.passes % 3 == 2 ? middle : proposal;
    if (!(next > state.lower && next < state.upper)) next = middle;
    state.settled = sums.total == 1 || !(next > state.lower && next < state.upper) ? 1 : 0;
    state.root = next;
    if (state.settled != 0) {
      const double gap = state.total_upper - state.total_lower;
      solutions[row] = sums.total == 1 ? RowSolution{state.largest, state.upper, state.upper, 0}
                                       : RowSolution{state.largest, state.lower, state.upper,
                                                     gap > 0 ? (1 - state.total_lower) / gap : 0};
    }
  }
  ++state.passes;
  states[row] = state;
  if (state.settled == 0) atomicAdd(unsettled, 1u);
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
  launch(context, "bracket_slice_kernel", &bracket_slice_kernel, slices.shape(), problem,
         parts.data());
  launch(context, "bracket_kernel", &bracket_kernel, per_row, problem, parts.data(), states.data(),
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
