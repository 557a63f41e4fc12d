#pragma once
// A lower bound of a row's threshold from its candidates, whatever order they have arrived in.
//
// Sums of float64 depend on the order of their terms, and a bound that did would let other
// candidates through on every run. Counts do not: the candidates are counted in bins of equal
// width, and every one is taken for the smallest cosine of its bin. A class with that cosine and
// the measure n stands for n classes, and a threshold solved on smaller cosines, or on fewer
// classes, is never above the true one (head/sparse_rows.cc). The bins cover no more than can be
// in the support: with 512 of them a bound is low by a five-hundredth of the support's range.
//
// Traffic: the list twice. Where classes have measures of their own lists are sorted instead.

#include "cuda/block_reduce.cuh"
#include "cuda/row_solver.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

inline constexpr unsigned kThresholdBins = 512;
inline constexpr double kLeastBinWidth = 1e-9;

// Bounds on the way need few digits: any larger root is a safe bound.
inline constexpr double kBoundTolerance = 1e-3;

struct ThresholdBins {
  const unsigned* counts;  // [kThresholdBins], in shared memory
  double lowest;
  double width;

  __device__ double edge(std::size_t bin) const {
    return lowest + static_cast<double>(bin) * width;
  }
  // The last bin whose edge is not above a cosine ≥ lowest.
  __device__ std::size_t bin_of(double cosine) const {
    const auto place = static_cast<std::size_t>((cosine - lowest) / width);
    std::size_t bin = min(place, std::size_t{kThresholdBins - 1});
    while (bin > 0 && edge(bin) > cosine) --bin;
    return bin;
  }
};

struct BinCosine {
  ThresholdBins bins;
  __device__ double operator()(std::size_t bin) const {
    return bins.counts[bin] == 0 ? -INFINITY : bins.edge(bin);
  }
};
struct BinMeasure {
  const unsigned* counts;
  __device__ double operator()(std::size_t bin) const { return counts[bin]; }
};

// A cosine that the row's threshold certainly reaches, at least `known`; cosine(j) are certain
// lower bounds of `count` classes other than the target, measures 1. Called by all threads of a
// block.
template <class Cosine>
__device__ double binned_threshold(const DeviceLoss& loss, const DeviceTarget& target,
                                   std::size_t count, const Cosine& cosine, double known) {
  ALPHAMARGIN_SHARED(unsigned, counts, kThresholdBins);
  double largest = -INFINITY;
  double smallest = INFINITY;
  for (std::size_t j = threadIdx.x; j < count; j += blockDim.x) {
    const double value = cosine(j);
    largest = max(largest, value);
    smallest = min(smallest, value);
  }
  largest = block_largest(largest);
  smallest = block_smallest(smallest);
  // The best class and the target, each alone, are as far above their thresholds as these.
  double least = largest - 1 / loss.beta;
  if (target.present != 0) {
    const double alone = target.gamma * pow(target.measure, -loss.excess);
    least = max(least, target.cosine - alone / loss.beta);
  }
  const double lowest = max(max(least, smallest), known);
  const ThresholdBins bins{counts, lowest,
                           max((largest - lowest) / kThresholdBins, kLeastBinWidth)};
  for (unsigned bin = threadIdx.x; bin < kThresholdBins; bin += blockDim.x) counts[bin] = 0;
  __syncthreads();
  for (std::size_t j = threadIdx.x; j < count; j += blockDim.x) {
    const double value = cosine(j);
    if (value >= lowest) atomicAdd(&counts[bins.bin_of(value)], 1u);
  }
  __syncthreads();
  bool out_of_range = false;
  const RowSolution solution =
      solve_row(loss, target, kThresholdBins, kThresholdBins, true, BinCosine{bins},
                BinMeasure{counts}, kBoundTolerance, out_of_range);
  if (out_of_range) return known;
  return max(known, solution.reference - solution.upper / loss.beta);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
