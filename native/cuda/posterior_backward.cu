// The backward pass of α-entmax on the device; formula and the treatment of the heaviest entry are
// those of cpu/posterior_backward.cc.
//
// Shapes: gradients and posterior [B, C]. Accumulation: float64, slices in order. Traffic: three
// passes over posterior and gradient (largest weight; weighted mean; gradient).

#include <algorithm>
#include <limits>

#include "cuda/posterior.h"
#include "cuda/row_slices.cuh"
#include "cuda/solve_rows.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

struct BackwardProblem {
  RowSlices slices;
  Elements gradient;   // v
  Elements posterior;  // p
  const float* reference;
  double alpha;
  double excess;  // 0 for softmax

  // log u_j = (α−1) log q_j + (2−α) log p_j on the support.
  __device__ double log_weight(std::size_t row, std::size_t j) const {
    const double p = posterior.at(row * slices.classes + j);
    if (!(p > 0)) return -INFINITY;
    const double measure =
        reference == nullptr || excess == 0 ? 0.0 : excess * log(static_cast<double>(reference[j]));
    return measure + (2 - alpha) * log(p);
  }
};

// The heaviest entry: of equal weights the first.
struct Heaviest {
  double weight;
  std::int64_t place;
};
__device__ inline bool heavier(const Heaviest& a, const Heaviest& b) {
  return a.weight > b.weight || (a.weight == b.weight && a.place < b.place);
}

struct WeightedSums {
  double total;
  double product;
};

__device__ Heaviest heaviest_of_row(const RowSlices& slices, const Heaviest* parts,
                                    std::size_t row) {
  Heaviest heaviest = parts[row * slices.slices];
  for (std::size_t s = 1; s < slices.slices; ++s) {
    const Heaviest& part = parts[row * slices.slices + s];
    if (heavier(part, heaviest)) heaviest = part;
  }
  return heaviest;
}

__global__ void __launch_bounds__(kRowThreads)
    heaviest_kernel(BackwardProblem problem, Heaviest* parts) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  Heaviest own{-INFINITY, static_cast<std::int64_t>(slices.begin())};
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    const Heaviest entry{problem.log_weight(row, j), static_cast<std::int64_t>(j)};
    if (entry.weight > own.weight) own = entry;
  }
  const double weight = block_largest(own.weight);
  const auto last = static_cast<std::int64_t>(slices.classes);
  const std::int64_t place = block_smallest(own.weight == weight ? own.place : last);
  if (threadIdx.x == 0) parts[slices.place()] = {weight, place};
}

__global__ void __launch_bounds__(kRowThreads)
    weighted_sums_kernel(BackwardProblem problem, const Heaviest* heaviest, WeightedSums* parts) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  const double largest = heaviest_of_row(slices, heaviest, row).weight;
  double total = 0;
  double product = 0;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    const double weight = problem.log_weight(row, j);
    if (weight == -INFINITY) continue;
    const double relative = exp(weight - largest);
    total += relative;
    product += relative * problem.gradient.at(row * slices.classes + j);
  }
  total = block_sum(total);
  product = block_sum(product);
  if (threadIdx.x == 0) parts[slices.place()] = {total, product};
}

__global__ void __launch_bounds__(kRowThreads)
    gradient_kernel(BackwardProblem problem, const Heaviest* heaviest, const WeightedSums* sums,
                    float* out, double* others) {
  const RowSlices& slices = problem.slices;
  const std::size_t row = slices.row();
  const Heaviest top = heaviest_of_row(slices, heaviest, row);
  double total = 0;
  double product = 0;
  for (std::size_t s = 0; s < slices.slices; ++s) {
    total += sums[row * slices.slices + s].total;
    product += sums[row * slices.slices + s].product;
  }
  const double mean = total > 0 ? product / total : 0;
  double sum = 0;
  for (std::size_t j = slices.begin() + threadIdx.x; j < slices.end(); j += blockDim.x) {
    const std::size_t i = row * slices.classes + j;
    const double weight = problem.log_weight(row, j);
    double gradient = 0;
    if (weight != -INFINITY && static_cast<std::int64_t>(j) != top.place) {
      gradient = exp(weight) * (problem.gradient.at(i) - mean);
      sum += gradient;
    }
    out[i] = static_cast<float>(gradient);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) others[slices.place()] = sum;
}

// The gradient sums to 0: the heaviest entry, whose own difference cancels, is minus the others.
__global__ void heaviest_gradient_kernel(BackwardProblem problem, const Heaviest* heaviest,
                                         const double* others, float* out) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const RowSlices& slices = problem.slices;
  if (row >= slices.rows) return;
  const Heaviest top = heaviest_of_row(slices, heaviest, row);
  double sum = 0;
  for (std::size_t s = 0; s < slices.slices; ++s) sum += others[row * slices.slices + s];
  if (top.weight == -INFINITY || sum == 0) return;
  out[row * slices.classes + static_cast<std::size_t>(top.place)] = static_cast<float>(-sum);
}

void check_input(DeviceContext& context, const char* argument, const DeviceMatrix& matrix,
                 std::uint32_t bad) {
  if (bad == FirstBadRow::kNone) return;
  const std::vector<float> row = fetch_row(context, matrix, bad);
  check_finite(argument, bad, row.data(), row.size());
}

}  // namespace

void posterior_backward(DeviceContext& context, MemoryAccount& scratch,
                        const RealMatrix& grad_posterior, const RealMatrix& posterior, double alpha,
                        const float* reference, const RealOutput& out,
                        const Cancellation& cancellation) {
  const std::size_t elements = posterior.rows() * posterior.columns();
  if (elements == 0) return;
  const StreamDrain drain(context);
  const DeviceMatrix p(context, scratch, posterior);
  const DeviceMatrix v(context, scratch, grad_posterior);
  const DeviceBuffer<float> measures = to_device(context, scratch, reference, posterior.columns());
  const DivergenceOrder order = DivergenceOrder::of(alpha);
  const BackwardProblem problem{RowSlices::of(posterior.rows(), posterior.columns()),
                                Elements::of(v),
                                Elements::of(p),
                                measures.data(),
                                order.alpha,
                                order.excess};
  const RowSlices& slices = problem.slices;
  FirstBadRow bad_posterior(context, scratch);
  FirstBadRow bad_gradient(context, scratch);
  constexpr float kAnyFinite = std::numeric_limits<float>::max();
  check_rows(context, slices, problem.posterior, kAnyFinite, bad_posterior.data());
  check_rows(context, slices, problem.gradient, kAnyFinite, bad_gradient.data());

  DeviceBuffer<Heaviest> heaviest(context, scratch, slices.count());
  DeviceBuffer<WeightedSums> sums(context, scratch, slices.count());
  DeviceBuffer<double> others(context, scratch, slices.count());
  const DeviceOutput result(context, scratch, out, elements);
  launch(context, "heaviest_kernel", &heaviest_kernel, slices.shape(), problem, heaviest.data());
  launch(context, "weighted_sums_kernel", &weighted_sums_kernel, slices.shape(), problem,
         heaviest.data(), sums.data());
  launch(context, "gradient_kernel", &gradient_kernel, slices.shape(), problem, heaviest.data(),
         sums.data(), result.data(), others.data());
  launch(context, "heaviest_gradient_kernel", &heaviest_gradient_kernel,
         {blocks_for(slices.rows, kRowThreads), kRowThreads}, problem, heaviest.data(),
         others.data(), result.data());
  bad_posterior.download();
  bad_gradient.download();
  context.synchronize();
  // The first bad row; of one row the posterior first, as on the CPU.
  if (bad_posterior.value() <= bad_gradient.value()) {
    check_input(context, "posterior", p, bad_posterior.value());
  }
  check_input(context, "gradPosterior", v, bad_gradient.value());
  cancellation.check();
  result.deliver();
  context.synchronize();
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
