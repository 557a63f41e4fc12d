// Kernels of cuda/loss.h.
//
// Shapes: cosines [B, C], labels [B]. Accumulation: float64, slices in order (row_slices.cuh);
// 1 − p_y is summed from the other classes, as on the CPU. Traffic: the cosines once per pass
// (solve, moments; gradient), the gradient is written once.

#include <algorithm>

#include "cuda/loss.h"
#include "cuda/solve_rows.h"
#include "math/label_smoothing.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

// What a slice knows of the classes other than the target.
struct Moments {
  double others;         // Σ p_j
  double excess_cosine;  // Σ p_j (c_j − ψ_y)
  double logits;         // Σ θ_j + log q_j, for label smoothing
  std::int64_t support;
};

__global__ void target_kernel(RowProblem problem, const std::int32_t* labels, DeviceMargin margin,
                              TargetRow* targets) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= problem.slices.rows) return;
  if (labels[row] == kIgnoredLabel) {
    targets[row] = {DeviceTarget::none(), kIgnoredLabel};
    return;
  }
  const auto label = static_cast<std::size_t>(labels[row]);
  targets[row] = {margin.target(row, problem.label_cosine(row, label), problem.measure(label)),
                  static_cast<std::int64_t>(label)};
}

__global__ void __launch_bounds__(kRowThreads)
    moments_kernel(RowProblem problem, const RowSolution* solutions, Moments* parts) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  if (problem.ignored(row)) return;
  const RowSolution solution = solutions[row];
  const std::size_t label = problem.skip(row);
  const double target = problem.targets[row].target.cosine;
  double others = 0;
  double excess = 0;
  double logits = 0;
  std::int64_t support = 0;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    if (j == label) continue;
    const double cosine = problem.cosine(row, j);
    const double p = posterior_of(problem.loss, solution, cosine, problem.measure(j));
    if (problem.loss.smoothing > 0) logits += problem.logit(row, j);
    if (!(p > 0)) continue;
    others += p;
    excess += p * (cosine - target);
    ++support;
  }
  others = block_sum(others);
  excess = block_sum(excess);
  logits = block_sum(logits);
  support = block_sum(support);
  if (threadIdx.x == 0) parts[slices.place()] = {others, excess, logits, support};
}

// A block per row: its top classes one after another, each the best of those after the last.
__global__ void __launch_bounds__(kRowThreads)
    last_top_kernel(RowProblem problem, std::size_t count, LastTop* tops) {
  const std::size_t row = blockIdx.x;
  if (problem.ignored(row)) return;
  const std::size_t label = problem.skip(row);
  const std::size_t classes = problem.slices.classes;
  LastTop last{INFINITY, -1};
  const std::size_t most = classes - 1;
  for (std::size_t rank = 0; rank < (count < most ? count : most); ++rank) {
    double best = -INFINITY;
    for (std::size_t j = threadIdx.x; j < classes; j += blockDim.x) {
      if (j == label) continue;
      const double cosine = problem.label_cosine(row, j);
      const bool is_after = cosine < last.cosine ||
                            (cosine == last.cosine && static_cast<std::int64_t>(j) > last.place);
      if (is_after && cosine > best) best = cosine;
    }
    best = block_largest(best);
    // The smallest class of that cosine; after the last one where the cosine is the same.
    const std::int64_t after = best == last.cosine ? last.place : -1;
    auto place = static_cast<std::int64_t>(classes);
    for (std::size_t j = threadIdx.x; j < classes; j += blockDim.x) {
      const auto own = static_cast<std::int64_t>(j);
      if (j == label || own <= after || problem.label_cosine(row, j) != best) continue;
      if (own < place) place = own;
    }
    last = {best, block_smallest(place)};
  }
  if (threadIdx.x == 0) tops[row] = last;
}

struct RowOutputs {
  float* loss;
  float* threshold;
  std::int32_t* support_size;
  std::uint8_t* target_active;
  float* margin_gradient;  // or nullptr
};

__global__ void finish_kernel(RowProblem problem, const RowSolution* solutions,
                              const Moments* parts, DeviceMargin margin, RowOutputs outputs) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= problem.slices.rows) return;
  if (problem.ignored(row)) {
    outputs.loss[row] = outputs.threshold[row] = 0;
    outputs.support_size[row] = 0;
    outputs.target_active[row] = 0;
    if (outputs.margin_gradient != nullptr) outputs.margin_gradient[row] = 0;
    return;
  }
  Moments moments{0, 0, 0, 0};
  for (std::size_t s = 0; s < problem.slices.slices; ++s) {
    const Moments& part = parts[row * problem.slices.slices + s];
    moments.others += part.others;
    moments.excess_cosine += part.excess_cosine;
    moments.logits += part.logits;
    moments.support += part.support;
  }
  const RowSolution solution = solutions[row];
  const DeviceTarget target = problem.target(row);
  const double own = target_posterior(problem.loss, solution, target);
  const double loss = moments.others > 0 ? loss_of(problem.loss, target, solution,
                                                   problem.loss.scale * moments.excess_cosine)
                                         : 0.0;
  const double smoothing = problem.loss.smoothing;
  const auto classes = static_cast<double>(problem.slices.classes);
  const double added =
      smoothing > 0
          ? smoothing_loss(smoothing, classes, target_logit(problem.loss, target), moments.logits)
          : 0.0;
  outputs.loss[row] = static_cast<float>(loss + added);
  outputs.threshold[row] = static_cast<float>(threshold_of(problem.loss, solution));
  outputs.support_size[row] = static_cast<std::int32_t>(moments.support + (own > 0 ? 1 : 0));
  outputs.target_active[row] = own > 0 ? 1 : 0;
  if (outputs.margin_gradient == nullptr) return;
  outputs.margin_gradient[row] = static_cast<float>(margin_gradient(
      margin.of_row(row), problem.label_cosine(row, problem.skip(row)), target.measure,
      moments.others, target_pull(smoothing, classes, moments.others)));
}

__global__ void __launch_bounds__(kRowThreads)
    gradient_kernel(RowProblem problem, const RowSolution* solutions, const float* grad_loss,
                    double mean, float* out, double* parts) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  if (problem.ignored(row)) {
    for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
      out[row * slices.classes + j] = 0;
    }
    return;
  }
  const RowSolution solution = solutions[row];
  const std::size_t label = problem.skip(row);
  const double upstream = grad_loss == nullptr ? mean : grad_loss[row];
  const double factor = problem.loss.scale * upstream;
  const double uniform = problem.loss.smoothing / static_cast<double>(slices.classes);
  double others = 0;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    if (j == label) continue;
    const double p =
        posterior_of(problem.loss, solution, problem.cosine(row, j), problem.measure(j));
    out[row * slices.classes + j] = static_cast<float>(factor * (p - uniform));
    others += p;
  }
  others = block_sum(others);
  if (threadIdx.x == 0) parts[slices.place()] = others;
}

__global__ void target_gradient_kernel(RowProblem problem, const float* grad_loss, double mean,
                                       const double* parts, float* out) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const RowSlices& slices = problem.slices;
  if (row >= slices.rows || problem.ignored(row)) return;
  double others = 0;
  for (std::size_t s = 0; s < slices.slices; ++s) others += parts[row * slices.slices + s];
  const double upstream = grad_loss == nullptr ? mean : grad_loss[row];
  const double factor = problem.loss.scale * upstream;
  out[row * slices.classes + problem.skip(row)] = static_cast<float>(
      -factor * problem.targets[row].target.derivative *
      target_pull(problem.loss.smoothing, static_cast<double>(slices.classes), others));
}

// The inputs of a call on the device.
class LossInputs {
 public:
  LossInputs(DeviceContext& context, MemoryAccount& scratch, const RealMatrix& cosines,
             const std::int32_t* labels, const Loss& loss, const float* reference)
      : context_(context),
        counted_(count_rows(labels, cosines.rows(), cosines.columns())),
        cosines_(context, scratch, cosines),
        labels_(to_device(context, scratch, labels, cosines.rows())),
        reference_(to_device(context, scratch, reference, cosines.columns())),
        margins_(to_device(context, scratch, loss.row_margins, cosines.rows())),
        margin_(DeviceMargin::of(loss, margins_.data())),
        targets_(context, scratch, cosines.rows()),
        no_cosine_(context, scratch) {
    problem_ = {RowSlices::of(cosines.rows(), cosines.columns()),
                Elements::of(cosines_),
                reference_.data(),
                targets_.data(),
                DeviceLoss::of(loss),
                nullptr};
    check_rows(context, problem_.slices, problem_.cosines, kLargestCosine, no_cosine_.data(),
               labels_.data());
    launch(context, "target_kernel", &target_kernel, per_row(), problem_, labels_.data(), margin_,
           targets_.data());
    if (loss.top_penalty == 0) return;
    tops_ = DeviceBuffer<LastTop>(context, scratch, cosines.rows());
    launch(context, "last_top_kernel", &last_top_kernel,
           {static_cast<unsigned>(cosines.rows()), kRowThreads}, problem_, loss.top_count,
           tops_.data());
    problem_.tops = tops_.data();
  }

  const RowProblem& problem() const { return problem_; }
  const DeviceMargin& margin() const { return margin_; }
  // 1/B of the rows that count.
  double mean() const { return 1.0 / static_cast<double>(counted_); }
  LaunchShape per_row() const { return {blocks_for(cosines_.rows(), kRowThreads), kRowThreads}; }
  void download_flag() { no_cosine_.download(); }
  // After a synchronisation: throws what the CPU would for the first bad row.
  std::uint32_t bad_row() const { return no_cosine_.value(); }
  void check() {
    if (bad_row() == FirstBadRow::kNone) return;
    const std::vector<float> row = fetch_row(context_, cosines_, bad_row());
    check_finite("cosines", bad_row(), row.data(), row.size());
    check_cosines(bad_row(), row.data(), row.size());
  }

 private:
  DeviceContext& context_;
  std::size_t counted_;
  DeviceMatrix cosines_;
  DeviceBuffer<std::int32_t> labels_;
  DeviceBuffer<float> reference_;
  DeviceBuffer<float> margins_;
  DeviceMargin margin_;
  DeviceBuffer<TargetRow> targets_;
  DeviceBuffer<LastTop> tops_;
  FirstBadRow no_cosine_;
  RowProblem problem_{};
};

}  // namespace

void loss_forward(DeviceContext& context, MemoryAccount& scratch, const RealMatrix& cosines,
                  const std::int32_t* labels, const Loss& loss, const float* reference,
                  const LossOutputs& outputs, const Cancellation& cancellation) {
  const std::size_t rows = cosines.rows();
  if (rows == 0) return;
  const StreamDrain drain(context);
  LossInputs inputs(context, scratch, cosines, labels, loss, reference);
  const RowProblem& problem = inputs.problem();
  DeviceBuffer<RowSolution> solutions(context, scratch, rows);
  DeviceBuffer<Moments> moments(context, scratch, problem.slices.count());
  DeviceBuffer<float> losses(context, scratch, rows);
  DeviceBuffer<float> thresholds(context, scratch, rows);
  DeviceBuffer<std::int32_t> support(context, scratch, rows);
  DeviceBuffer<std::uint8_t> active(context, scratch, rows);
  DeviceBuffer<float> slopes(context, scratch, outputs.margin_gradient == nullptr ? 0 : rows);
  FirstBadRow outside(context, scratch);
  solve_rows(context, scratch, problem, solutions.data(), outside.data());
  launch(context, "moments_kernel", &moments_kernel, problem.slices.shape(), problem,
         solutions.data(), moments.data());
  launch(
      context, "finish_kernel", &finish_kernel, inputs.per_row(), problem, solutions.data(),
      moments.data(), inputs.margin(),
      RowOutputs{losses.data(), thresholds.data(), support.data(), active.data(), slopes.data()});
  inputs.download_flag();
  outside.download();
  context.synchronize();
  if (inputs.bad_row() <= outside.value()) inputs.check();
  if (outside.value() != FirstBadRow::kNone) {
    throw out_of_range_failure(context, solutions.data(), outside.value());
  }
  cancellation.check();
  losses.download(outputs.loss);
  thresholds.download(outputs.threshold);
  support.download(outputs.support_size);
  active.download(outputs.target_active);
  solutions.download(outputs.solutions);
  if (outputs.margin_gradient != nullptr) slopes.download(outputs.margin_gradient);
  context.synchronize();
}

void loss_backward(DeviceContext& context, MemoryAccount& scratch, const RealMatrix& cosines,
                   const std::int32_t* labels, const Loss& loss, const float* reference,
                   const RowSolution* solutions, const float* grad_loss,
                   const RealOutput& grad_cosines, const Cancellation& cancellation) {
  const std::size_t rows = cosines.rows();
  if (rows == 0) return;
  const StreamDrain drain(context);
  LossInputs inputs(context, scratch, cosines, labels, loss, reference);
  const RowProblem& problem = inputs.problem();
  const DeviceBuffer<RowSolution> solved = to_device(context, scratch, solutions, rows);
  const DeviceBuffer<float> upstream = to_device(context, scratch, grad_loss, rows);
  DeviceBuffer<double> others(context, scratch, problem.slices.count());
  const DeviceOutput result(context, scratch, grad_cosines, rows * cosines.columns());
  launch(context, "gradient_kernel", &gradient_kernel, problem.slices.shape(), problem,
         solved.data(), upstream.data(), inputs.mean(), result.data(), others.data());
  launch(context, "target_gradient_kernel", &target_gradient_kernel, inputs.per_row(), problem,
         upstream.data(), inputs.mean(), others.data(), result.data());
  inputs.download_flag();
  context.synchronize();
  inputs.check();
  cancellation.check();
  result.deliver();
  context.synchronize();
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
