#pragma once
// The threshold equation of one row, in float64.
//
//   Φ(r) = Σ_j q_j [r − g_j]_+^k + q_y ([r − g_y]_+ / Γ)^k = 1
//
// g_j = z_max − z_j ≥ 0 are gaps below the row's largest logit and r = z_max − t is the root: in
// these variables nothing cancels. The target is kept apart because of Γ. Φ increases with r, so a
// root found on a subset of the classes is an upper bound of r, hence a lower bound of t (the
// streaming lemma); classes with g_j ≥ r are outside the support and are dropped at once.

#include <cmath>
#include <cstddef>

#include "math/alpha_divergence.h"
#include "math/host_device.h"

namespace alphamargin {

// Non-target classes: gaps and their measures (nullptr: all 1). Compacted in place while solving.
struct Candidates {
  double* gaps;
  double* measures;
  std::size_t count;
};

// The target's own term; measure 0 when there is none.
struct TargetTerm {
  double gap = 0;
  double measure = 0;
  double inverse_gamma = 1;
};

// p = (1 − mix)·p(lower) + mix·p(upper). For α ≤ 2 both roots coincide. For α > 2 the posterior is
// so steep that neighbouring float64 roots can give different supports; the mixture sums to 1.
struct ThresholdRoot {
  double lower = 0;
  double upper = 0;
  double mix = 0;
};

struct ThresholdSums {
  double total;  // Φ
  double slope;  // Φ'/k
};

template <class Power>
ALPHAMARGIN_HOST_DEVICE inline ThresholdSums threshold_sums(const Power& power, double root,
                                                            const Candidates& candidates,
                                                            const TargetTerm& target) {
  double total = 0;
  double slope = 0;
  if (candidates.measures == nullptr) {
    for (std::size_t i = 0; i < candidates.count; ++i) {
      const double d = root - candidates.gaps[i];
      const double reduced = d > 0 ? power.reduced(d) : 0.0;
      slope += reduced;
      total += d > 0 ? power.full(d, reduced) : 0.0;
    }
  } else {
    for (std::size_t i = 0; i < candidates.count; ++i) {
      const double d = root - candidates.gaps[i];
      const double reduced = d > 0 ? power.reduced(d) : 0.0;
      slope += candidates.measures[i] * reduced;
      total += d > 0 ? candidates.measures[i] * power.full(d, reduced) : 0.0;
    }
  }
  const double d = (root - target.gap) * target.inverse_gamma;
  if (target.measure > 0 && d > 0) {
    const double reduced = power.reduced(d);
    slope += target.measure * reduced * target.inverse_gamma;
    total += target.measure * power.full(d, reduced);
  }
  return {total, slope};
}

// Drops the classes that cannot be in the support of any root ≤ `root`; keeps their order.
ALPHAMARGIN_HOST_DEVICE inline void drop_outside(double root, Candidates& candidates) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < candidates.count; ++i) {
    if (candidates.gaps[i] >= root) continue;
    candidates.gaps[kept] = candidates.gaps[i];
    if (candidates.measures != nullptr) candidates.measures[kept] = candidates.measures[i];
    ++kept;
  }
  candidates.count = kept;
}

// Newton's step on Φ^{1/k}: exact when one class is left, and for k ≥ 1 it never passes the root
// from above.
// The common orders α = 2, 1.5, 1.25 need roots only, which every processor rounds alike.
ALPHAMARGIN_HOST_DEVICE inline double newton_step(double exponent, const ThresholdSums& sums) {
  if (exponent == 1) return (sums.total - 1) / sums.slope;
  if (exponent == 2 || exponent == 4) {
    const double half = std::sqrt(sums.total);
    const double root = exponent == 2 ? half : std::sqrt(half);
    return (exponent == 2 ? root : half * root) * (root - 1) / sums.slope;
  }
  const double log_total = std::log(sums.total);
  return std::exp((1 - 1 / exponent) * log_total) * std::expm1(log_total / exponent) / sums.slope;
}

// The least float64 root with Φ ≥ 1, from one that is a few steps away and has Φ = total. Where an
// iteration ends depends on where it began and on the classes it met on the way; this does not:
// sums in a fixed order increase with the root, and classes outside the support add nothing.
// `candidates` still has every class of a slightly larger root.
template <class Power>
double least_root(const Power& power, double root, double total, const Candidates& candidates,
                  const TargetTerm& target) {
  const auto reaches_one = [&](double at) {
    return threshold_sums(power, at, candidates, target).total >= 1;
  };
  constexpr int kMostSteps = 1000;  // a few suffice
  if (total < 1) {
    for (int step = 0; step < kMostSteps; ++step) {
      root = std::nextafter(root, INFINITY);
      if (reaches_one(root)) break;
    }
    return root;
  }
  for (int step = 0; step < kMostSteps; ++step) {
    const double below = std::nextafter(root, 0);
    if (!reaches_one(below)) break;
    root = below;
  }
  return root;
}

// Solves for the root below `start` (where Φ(start) ≥ 1). Stops when a step changes the root by
// less than `tolerance` of itself; any value it stops at is ≥ the true root for α ≤ 2. Tolerance 0
// gives the least root in float64, which is the same from every start.
template <class Power>
ThresholdRoot solve_convex(const Power& power, double exponent, double start, double tolerance,
                           Candidates& candidates, const TargetTerm& target) {
  double root = start;
  double total = 0;
  for (int pass = 0; pass < 200; ++pass) {
    drop_outside(root, candidates);
    const ThresholdSums sums = threshold_sums(power, root, candidates, target);
    total = sums.total;
    if (!(sums.total > 1)) break;
    const double next = root - newton_step(exponent, sums);
    if (!(next < root)) break;
    const bool settled = root - next <= tolerance * root;
    root = next;
    if (settled) break;
  }
  if (tolerance == 0) root = least_root(power, root, total, candidates, target);
  return {root, root, 0};
}

// α > 2: Φ has vertical tangents, so Newton's step is only a proposal inside a bracket that is
// halved whenever the proposal is poor. Ends with neighbouring float64 values (tolerance 0) or with
// a bracket of relative width `tolerance`, whose upper end is the safe side.
template <class Power>
ThresholdRoot solve_bracketed(const Power& power, double exponent, double start, double tolerance,
                              Candidates& candidates, const TargetTerm& target) {
  double upper = start;
  double lower = 0;
  double total_upper = 0;
  double total_lower = 0;
  drop_outside(upper, candidates);
  ThresholdSums sums = threshold_sums(power, upper, candidates, target);
  total_upper = sums.total;
  if (!(total_upper > 1)) return {upper, upper, 0};
  for (int pass = 0; pass < 4096; ++pass) {
    if (upper - lower <= tolerance * upper) break;
    double next = upper - newton_step(exponent, sums);
    // A geometric mean finds roots many orders of magnitude below 1, an arithmetic one the rest.
    const double middle = lower > 0 ? (upper > 4 * lower ? std::sqrt(lower) * std::sqrt(upper)
                                                         : lower + (upper - lower) / 2)
                                    : upper / 1024;
    if (pass % 3 == 2 || !(next > lower && next < upper)) next = middle;
    if (!(next > lower && next < upper)) break;
    const ThresholdSums at_next = threshold_sums(power, next, candidates, target);
    if (at_next.total >= 1) {
      upper = next;
      total_upper = at_next.total;
      sums = at_next;
      drop_outside(upper, candidates);
      if (total_upper == 1) {
        upper = least_root(power, upper, total_upper, candidates, target);
        return {upper, upper, 0};
      }
    } else {
      lower = next;
      total_lower = at_next.total;
    }
  }
  return {lower, upper, (1 - total_lower) / (total_upper - total_lower)};
}

// The root of Φ(r) = 1 on the given classes, for any α > 1.
template <class Power>
ThresholdRoot solve_threshold(const DivergenceOrder& order, const Power& power, double start,
                              double tolerance, Candidates& candidates, const TargetTerm& target) {
  return order.is_convex()
             ? solve_convex(power, order.exponent, start, tolerance, candidates, target)
             : solve_bracketed(power, order.exponent, start, tolerance, candidates, target);
}

// Posterior of a class with gap g and measure q (times inverse_gamma for the target).
template <class Power>
ALPHAMARGIN_HOST_DEVICE inline double posterior_at(const Power& power, const ThresholdRoot& root,
                                                   double gap, double measure,
                                                   double inverse_gamma = 1) {
  const double high = (root.upper - gap) * inverse_gamma;
  if (!(high > 0)) return 0;
  const double at_upper = powered(power, measure, high);
  if (root.lower == root.upper) return at_upper;
  const double at_lower = powered(power, measure, (root.lower - gap) * inverse_gamma);
  return at_lower + root.mix * (at_upper - at_lower);
}

}  // namespace alphamargin
