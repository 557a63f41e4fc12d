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

#include "cuda/head/cosine_bins.cuh"
#include "cuda/row_solver.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// Bounds on the way need few digits: any larger root is a safe bound.
inline constexpr double kBoundTolerance = 1e-3;

struct BinCosine {
  const CosineBins& bins;
  __device__ double operator()(std::size_t bin) const {
    return bins.count(bin) == 0 ? -INFINITY : bins.edge(bin);
  }
};
struct BinMeasure {
  const CosineBins& bins;
  __device__ double operator()(std::size_t bin) const { return bins.count(bin); }
};

// A cosine that the row's threshold certainly reaches, at least `known`; cosine(j) are certain
// lower bounds of `count` classes other than the target, measures 1. Called by all threads of a
// block.
template <class Cosine>
__device__ double binned_threshold(const DeviceLoss& loss, const DeviceTarget& target,
                                   std::size_t count, const Cosine& cosine, double known) {
  ALPHAMARGIN_SHARED(unsigned, counts, kCosineBins);
  const CosineRange range = range_of(count, cosine);
  // The best class and the target, each alone, are as far above their thresholds as these.
  double least = range.largest - 1 / loss.beta;
  if (target.present != 0) {
    const double alone = target.gamma * pow(target.measure, -loss.excess);
    least = max(least, target.cosine - alone / loss.beta);
  }
  const CosineBins bins(counts, max(max(least, range.smallest), known), range.largest, count,
                        cosine);
  bool out_of_range = false;
  const RowSolution solution =
      solve_row(loss, target, kCosineBins, kCosineBins, true, BinCosine{bins}, BinMeasure{bins},
                kBoundTolerance, out_of_range);
  if (out_of_range) return known;
  return max(known, solution.reference - solution.upper / loss.beta);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
