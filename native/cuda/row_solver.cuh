#pragma once
// One block solves one row: the threshold equation of math/threshold.h and cpu/row_solver.h with
// block-wide sums in place of loops.
//
//   Φ(r) = Σ_j q_j [r − g_j]_+^k + q_y ([r − g_y]_+ / Γ)^k = 1,   g_j = β(c_max − c_j)
//
// Accumulation: float64; each thread its classes in ascending order, then block_reduce. Every pass
// visits all classes of the row, so functors may read any memory; nothing is stored.

#include "cpu/row_solver.h"
#include "cuda/block_reduce.cuh"
#include "cuda/device_loss.h"
#include "cuda/short_exp.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// d^{k−1} for any k; the choice is uniform over a kernel.
struct AnyPower {
  double exponent;
  int integer_exponent;

  __device__ explicit AnyPower(const DeviceLoss& loss)
      : exponent(loss.exponent), integer_exponent(static_cast<int>(loss.integer_exponent)) {}

  __device__ double reduced(double d) const {
    switch (integer_exponent) {
      case 0:
        return GeneralPower{exponent}.reduced(d);
      case 1:
        return FixedPower<1>{}.reduced(d);
      case 2:
        return FixedPower<2>{}.reduced(d);
      case 3:
        return FixedPower<3>{}.reduced(d);
      case 4:
        return FixedPower<4>{}.reduced(d);
      default:
        return IntegerPower{integer_exponent}.reduced(d);
    }
  }
};

// Posterior of a class other than the target of a solved row.
__device__ inline double posterior_of(const DeviceLoss& loss, const RowSolution& solution,
                                      double cosine, double measure) {
  if (loss.is_softmax()) {
    return measure * short_exp(loss.beta * (cosine - solution.reference) - solution.lower);
  }
  return posterior_at(AnyPower(loss), ThresholdRoot{solution.lower, solution.upper, solution.mix},
                      loss.beta * (solution.reference - cosine), measure);
}

// Posterior of the target.
__device__ inline double target_posterior(const DeviceLoss& loss, const RowSolution& solution,
                                          const DeviceTarget& target) {
  if (loss.is_softmax()) {
    return target.measure * exp(loss.beta * (target.cosine - solution.reference) - solution.lower +
                                target.log_factor);
  }
  return posterior_at(AnyPower(loss), ThresholdRoot{solution.lower, solution.upper, solution.mix},
                      loss.beta * (solution.reference - target.cosine), target.measure,
                      1 / target.gamma);
}

// θ_y + log q_y with the margin in both: the target's logit under softmax.
__device__ inline double target_logit(const DeviceLoss& loss, const DeviceTarget& target) {
  return loss.scale * target.cosine + log(target.measure) + target.log_factor;
}

// θ-threshold τ of a solved row.
__device__ inline double threshold_of(const DeviceLoss& loss, const RowSolution& solution) {
  const double reference = loss.scale * solution.reference;
  return loss.is_softmax() ? reference + solution.lower
                           : reference + (1 - solution.upper) / loss.excess;
}

// row_loss of cpu/row_solver.h.
__device__ inline double loss_of(const DeviceLoss& loss, const DeviceTarget& target,
                                 const RowSolution& solution, double excess_logit) {
  const double threshold_above_target =
      loss.scale * (solution.reference - target.cosine) +
      (loss.is_softmax() ? solution.lower : (1 - solution.upper) / loss.excess);
  const double x = -target.log_factor - log(target.measure);
  const double own = loss.is_softmax() ? x : expm1(loss.excess * x) / loss.excess;
  const double value = excess_logit + (own - excess_logit + threshold_above_target) / loss.alpha;
  return value > 0 ? value : 0;
}

// The classes of a row: 0 … count − 1 but `skip`, and the target.
template <class Cosine, class Measure>
struct RowClasses {
  std::size_t count;
  std::size_t skip;
  bool has_measure;
  const Cosine& cosine;
  const Measure& measure;
};

namespace row_solver {

template <class Classes>
__device__ double largest_cosine(const Classes& row) {
  double largest = -INFINITY;
  for (std::size_t j = threadIdx.x; j < row.count; j += blockDim.x) {
    if (j == row.skip) continue;
    const double cosine = row.cosine(j);
    if (cosine > largest) largest = cosine;
  }
  return block_largest(largest);
}

// Φ and Φ'/k at a root; the target's term is added last, by every thread alike.
template <class Classes>
__device__ ThresholdSums sums_at(const AnyPower& power, double root, double beta, double largest,
                                 const Classes& row, const TargetTerm& target) {
  double total = 0;
  double slope = 0;
  for (std::size_t j = threadIdx.x; j < row.count; j += blockDim.x) {
    if (j == row.skip) continue;
    const double d = root - beta * (largest - row.cosine(j));
    if (!(d > 0)) continue;
    const double reduced = (row.has_measure ? row.measure(j) : 1.0) * power.reduced(d);
    slope += reduced;
    total += reduced * d;
  }
  total = block_sum(total);
  slope = block_sum(slope);
  const double d = (root - target.gap) * target.inverse_gamma;
  if (target.measure > 0 && d > 0) {
    const double reduced = target.measure * power.reduced(d);
    slope += reduced * target.inverse_gamma;
    total += reduced * d;
  }
  return {total, slope};
}

template <class Sums>
__device__ ThresholdRoot solve_convex(double exponent, double start, double tolerance,
                                      const Sums& sums_of) {
  double root = start;
  for (int pass = 0; pass < 200; ++pass) {
    const ThresholdSums sums = sums_of(root);
    if (!(sums.total > 1)) break;
    const double next = root - newton_step(exponent, sums);
    if (!(next < root)) break;
    const bool settled = root - next <= tolerance * root;
    root = next;
    if (settled) break;
  }
  return {root, root, 0};
}

template <class Sums>
__device__ ThresholdRoot solve_bracketed(double exponent, double start, double tolerance,
                                         const Sums& sums_of) {
  double upper = start;
  double lower = 0;
  ThresholdSums sums = sums_of(upper);
  double total_upper = sums.total;
  double total_lower = 0;
  if (!(total_upper > 1)) return {upper, upper, 0};
  for (int pass = 0; pass < 4096; ++pass) {
    if (upper - lower <= tolerance * upper) break;
    double next = upper - newton_step(exponent, sums);
    // A geometric mean finds roots many orders of magnitude below 1, an arithmetic one the rest.
    const double middle =
        lower > 0 ? (upper > 4 * lower ? sqrt(lower) * sqrt(upper) : lower + (upper - lower) / 2)
                  : upper / 1024;
    if (pass % 3 == 2 || !(next > lower && next < upper)) next = middle;
    if (!(next > lower && next < upper)) break;
    const ThresholdSums at_next = sums_of(next);
    if (at_next.total >= 1) {
      upper = next;
      total_upper = at_next.total;
      sums = at_next;
      if (total_upper == 1) return {upper, upper, 0};
    } else {
      lower = next;
      total_lower = at_next.total;
    }
  }
  return {lower, upper, (1 - total_lower) / (total_upper - total_lower)};
}

template <class Classes>
__device__ RowSolution solve_softmax(const DeviceLoss& loss, const DeviceTarget& target,
                                     const Classes& row) {
  // With measures, gaps below the largest cosine first, which are exact: log q would be lost in a
  // large s·c. Then the largest of s·c + log q is taken off, so that nothing can overflow.
  double best = 0;
  if (row.has_measure) {
    best = largest_cosine(row);
    if (target.present != 0 && target.cosine > best) best = target.cosine;
  }
  const auto logit_of = [&](std::size_t j) {
    return loss.beta * (row.cosine(j) - best) + (row.has_measure ? log(row.measure(j)) : 0.0);
  };
  double largest = -INFINITY;
  for (std::size_t j = threadIdx.x; j < row.count; j += blockDim.x) {
    if (j == row.skip) continue;
    const double logit = logit_of(j);
    if (logit > largest) largest = logit;
  }
  largest = block_largest(largest);
  double own = 0;
  if (target.present != 0) {
    own = loss.beta * (target.cosine - best) + log(target.measure) + target.log_factor;
    if (own > largest) largest = own;
  }
  double total = 0;
  for (std::size_t j = threadIdx.x; j < row.count; j += blockDim.x) {
    if (j == row.skip) continue;
    total += short_exp(logit_of(j) - largest);
  }
  total = block_sum(total);
  if (target.present != 0) total += exp(own - largest);
  if (row.has_measure) return {best, largest + log(total), 0, 0};
  return {largest / loss.beta, log(total), 0, 0};
}

}  // namespace row_solver

// Solves the row of this block; the same answer in every thread. Tolerance 0 gives the exact root;
// a larger one gives a root that is too large by at most that, whose support bound is still safe.
// `out_of_range` is set, and the answer meaningless, when the measures leave float64.
template <class Cosine, class Measure>
__device__ RowSolution solve_row(const DeviceLoss& loss, const DeviceTarget& target,
                                 std::size_t count, std::size_t skip, bool has_measure,
                                 const Cosine& cosine, const Measure& measure, double tolerance,
                                 bool& out_of_range) {
  const RowClasses<Cosine, Measure> row{count, skip, has_measure, cosine, measure};
  out_of_range = false;
  if (loss.is_softmax()) return row_solver::solve_softmax(loss, target, row);
  const double beta = loss.beta;
  const double best = row_solver::largest_cosine(row);
  double largest = best;
  if (target.present != 0 && target.cosine > largest) largest = target.cosine;

  // A root on any subset is an upper bound, and one class alone has d = q^{-(α−1)}: the least of
  // these bounds, since a Newton step from one that is many orders above the root would lose the
  // root's digits. Rounded up: a d below the gap's last digit must not be lost.
  double start = INFINITY;
  if (!has_measure) {
    if (best > -INFINITY) {
      start = beta * (largest - best) + 1;
      if (largest > best) start *= 1 + 0x1p-51;
    }
  } else {
    for (std::size_t j = threadIdx.x; j < count; j += blockDim.x) {
      if (j == skip) continue;
      const double gap = beta * (largest - cosine(j));
      if (gap >= start) continue;
      const double alone = pow(measure(j), -loss.excess);
      const double bound = gap > 0 ? (gap + alone) * (1 + 0x1p-51) : alone;
      if (bound < start) start = bound;
    }
    start = block_smallest(start);
  }
  TargetTerm term;
  double target_start = INFINITY;
  if (target.present != 0) {
    term = {beta * (largest - target.cosine), target.measure, 1 / target.gamma};
    target_start = term.gap + target.gamma * pow(target.measure, -loss.excess);
    if (target.measure > 1) target_start *= 1 + 0x1p-51;
    if (target_start < start) start = target_start;
  }
  if (!(start < INFINITY && start > 0)) {
    out_of_range = true;
    return {largest, start, start, 0};
  }
  // The target alone: a row at zero loss is exactly that, not nearly.
  if (start == target_start) {
    bool inside = false;
    for (std::size_t j = threadIdx.x; j < count; j += blockDim.x) {
      inside = inside || (j != skip && beta * (largest - cosine(j)) < start);
    }
    if (!block_any(inside)) return {largest, start, start, 0};
  }
  const AnyPower power(loss);
  const auto sums_of = [&](double root) {
    return row_solver::sums_at(power, root, beta, largest, row, term);
  };
  const ThresholdRoot root =
      loss.is_convex() ? row_solver::solve_convex(loss.exponent, start, tolerance, sums_of)
                       : row_solver::solve_bracketed(loss.exponent, start, tolerance, sums_of);
  return {largest, root.lower, root.upper, root.mix};
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
