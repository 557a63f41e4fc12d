// Kernels of cuda/posterior.h.
//
// Shapes: logits, posterior [B, C]. Accumulation: float64, a slice of 8192 classes per block,
// slices in order (row_slices.cuh). Traffic: short rows are read once from memory and again from
// cache; long ones once per pass of the solver. Every posterior is written once.

#include <limits>

#include "cuda/posterior.h"
#include "cuda/primitives.h"
#include "cuda/solve_rows.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

__device__ float posterior_at_place(const RowProblem& problem, const RowSolution& solution,
                                    std::size_t row, std::size_t j) {
  return static_cast<float>(
      posterior_of(problem.loss, solution, problem.cosine(row, j), problem.measure(j)));
}

__global__ void __launch_bounds__(kRowThreads)
    posterior_kernel(RowProblem problem, const RowSolution* solutions, float* out) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  const RowSolution solution = solutions[row];
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    out[row * slices.classes + j] = posterior_at_place(problem, solution, row, j);
  }
}

__global__ void __launch_bounds__(kRowThreads)
    count_support_kernel(RowProblem problem, const RowSolution* solutions, std::uint32_t* counts) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  const RowSolution solution = solutions[row];
  unsigned count = 0;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    count += posterior_at_place(problem, solution, row, j) > 0 ? 1 : 0;
  }
  count = block_sum(count);
  if (threadIdx.x == 0) counts[slices.place()] = count;
}

__global__ void __launch_bounds__(kRowThreads)
    fill_support_kernel(RowProblem problem, const RowSolution* solutions,
                        const std::uint64_t* offsets, std::int32_t* columns, float* values) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  const RowSolution solution = solutions[row];
  std::size_t place = offsets[slices.place()];
  for (std::size_t base = slices.begin(); base < slices.end(); base += blockDim.x) {
    const std::size_t j = base + threadIdx.x;
    const float p = j < slices.end() ? posterior_at_place(problem, solution, row, j) : 0.0f;
    const BlockOffsets found = block_offsets(p > 0 ? 1 : 0);
    if (p > 0) {
      columns[place + found.before] = static_cast<std::int32_t>(j);
      values[place + found.before] = p;
    }
    place += found.total;
  }
}

// The solved rows of a call, and its error when it has one.
class SolvedRows {
 public:
  SolvedRows(DeviceContext& context, MemoryAccount& scratch, const RealMatrix& logits, double alpha,
             const float* reference)
      : context_(context),
        logits_(context, scratch, logits),
        reference_(to_device(context, scratch, reference, logits.columns())),
        solutions_(context, scratch, logits.rows()),
        not_finite_(context, scratch),
        out_of_range_(context, scratch) {
    Loss loss;
    loss.order = DivergenceOrder::of(alpha);
    problem_ = {RowSlices::of(logits.rows(), logits.columns()),
                Elements::of(logits_),
                reference_.data(),
                nullptr,
                DeviceLoss::of(loss),
                nullptr};
    check_rows(context, problem_.slices, problem_.cosines, std::numeric_limits<float>::max(),
               not_finite_.data());
    solve_rows(context, scratch, problem_, solutions_.data(), out_of_range_.data());
  }

  const RowProblem& problem() const { return problem_; }
  const RowSolution* solutions() const { return solutions_.data(); }

  // Waits, and throws what the CPU would.
  void check() {
    not_finite_.download();
    out_of_range_.download();
    context_.synchronize();
    const std::uint32_t bad = std::min(not_finite_.value(), out_of_range_.value());
    if (bad == FirstBadRow::kNone) return;
    if (bad == not_finite_.value()) {
      const std::vector<float> row = fetch_row(context_, logits_, bad);
      check_finite("logits", bad, row.data(), row.size());
    }
    throw out_of_range_failure(context_, solutions_.data(), bad);
  }

 private:
  DeviceContext& context_;
  DeviceMatrix logits_;
  DeviceBuffer<float> reference_;
  DeviceBuffer<RowSolution> solutions_;
  FirstBadRow not_finite_;
  FirstBadRow out_of_range_;
  RowProblem problem_{};
};

}  // namespace

void posterior(DeviceContext& context, MemoryAccount& scratch, const RealMatrix& logits,
               double alpha, const float* reference, const RealOutput& out,
               const Cancellation& cancellation) {
  if (logits.rows() * logits.columns() == 0) return;
  const StreamDrain drain(context);
  SolvedRows rows(context, scratch, logits, alpha, reference);
  const DeviceOutput result(context, scratch, out, logits.rows() * logits.columns());
  launch(context, "posterior_kernel", &posterior_kernel, rows.problem().slices.shape(),
         rows.problem(), rows.solutions(), result.data());
  rows.check();
  cancellation.check();
  result.deliver();
  context.synchronize();
}

SparseRows sparse_posterior(DeviceContext& context, MemoryAccount& scratch, MemoryAccount& host,
                            const RealMatrix& logits, double alpha, const float* reference,
                            const Cancellation& cancellation) {
  SparseRows sparse{make_buffer<std::int32_t>(host, logits.rows() + 1),
                    make_buffer<std::int32_t>(host), make_buffer<float>(host)};
  std::fill(sparse.row_offsets.begin(), sparse.row_offsets.end(), 0);
  if (logits.rows() * logits.columns() == 0) return sparse;
  std::vector<std::uint64_t> places;
  const StreamDrain drain(context);
  SolvedRows rows(context, scratch, logits, alpha, reference);
  const RowSlices& slices = rows.problem().slices;
  // One count more: its place in the scan is the total.
  DeviceBuffer<std::uint32_t> counts(context, scratch, slices.count() + 1);
  DeviceBuffer<std::uint64_t> offsets(context, scratch, slices.count() + 1);
  counts.fill_bytes(0);
  launch(context, "count_support_kernel", &count_support_kernel, slices.shape(), rows.problem(),
         rows.solutions(), counts.data());
  exclusive_sum(context, scratch, counts.data(), offsets.data(), slices.count() + 1);
  places.resize(slices.count() + 1);
  offsets.download(places.data());
  rows.check();
  cancellation.check();
  const std::uint64_t entries = places.back();
  if (entries > static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max())) {
    throw too_many_entries();
  }
  for (std::size_t row = 0; row <= slices.rows; ++row) {
    sparse.row_offsets[row] = static_cast<std::int32_t>(places[row * slices.slices]);
  }
  DeviceBuffer<std::int32_t> columns(context, scratch, entries);
  DeviceBuffer<float> values(context, scratch, entries);
  launch(context, "fill_support_kernel", &fill_support_kernel, slices.shape(), rows.problem(),
         rows.solutions(), offsets.data(), columns.data(), values.data());
  sparse.columns.resize(entries);
  sparse.values.resize(entries);
  columns.download(sparse.columns.data());
  values.download(sparse.values.data());
  context.synchronize();
  return sparse;
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
