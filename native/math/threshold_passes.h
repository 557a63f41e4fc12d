#pragma once
// The threshold equation (threshold.h) of a row whose classes are not stored: a pass over all of
// them gives the sums at a root, a step of the search the next root.
//
// The search begins at an upper bound of the root, in units of gaps, and goes on as solve_convex
// and solve_bracketed do. Its last steps are left out where they could not change more than the
// last digits, since each costs a pass.

#include <cmath>
#include <cstdint>

#include "math/threshold.h"

namespace alphamargin {

// An upper bound of the root: where one class, or the target, alone has Φ = 1. Rounded up where
// there is a gap, for what is below its last digit must not be lost.
ALPHAMARGIN_HOST_DEVICE inline double start_of(double gap, double alone) {
  return gap > 0 ? (gap + alone) * (1 + 0x1p-51) : alone;
}

struct ThresholdPasses {
  double root = 0;  // where the next pass is to be
  double lower = 0;
  double upper = 0;
  double total_lower = 0;
  double total_upper = 0;
  double slope_upper = 0;
  std::int64_t passes = 0;
  std::int64_t settled = 0;

  ALPHAMARGIN_HOST_DEVICE void begin(double start) {
    *this = {};
    root = upper = start;
  }

  // After the pass at `root`. With a `tolerance` the search ends at a root that is too large by at
  // most that part of itself.
  ALPHAMARGIN_HOST_DEVICE void step(double exponent, const ThresholdSums& sums, double tolerance) {
    if (exponent >= 1) {
      descend(exponent, sums, tolerance);
    } else {
      narrow(exponent, sums, tolerance);
    }
    ++passes;
  }

  ALPHAMARGIN_HOST_DEVICE ThresholdRoot result() const {
    if (lower == upper) return {upper, upper, 0};
    return {lower, upper, (1 - total_lower) / (total_upper - total_lower)};
  }

 private:
  ALPHAMARGIN_HOST_DEVICE void settle(double at) {
    root = lower = upper = at;
    settled = 1;
  }

  // α ≤ 2. Newton's steps come from above and never pass the root. A step by the part ε of the root
  // leaves about k ε² of it to go.
  ALPHAMARGIN_HOST_DEVICE void descend(double exponent, const ThresholdSums& sums,
                                       double tolerance) {
    constexpr double kLastStep = 1e-9;
    const double next = sums.total > 1 ? root - newton_step(exponent, sums) : root;
    if (!(next < root)) {
      settle(root);
      return;
    }
    const double moved = root - next;
    root = upper = next;
    if (exponent * moved <= kLastStep * root || moved <= tolerance * root) settle(root);
  }

  // α > 2.
  ALPHAMARGIN_HOST_DEVICE void narrow(double exponent, const ThresholdSums& sums,
                                      double tolerance) {
    if (passes == 0 && !(sums.total > 1)) {
      settle(root);
      return;
    }
    if (sums.total >= 1) {
      upper = root;
      total_upper = sums.total;
      slope_upper = sums.slope;
      if (sums.total == 1) {
        settle(root);
        return;
      }
    } else {
      lower = root;
      total_lower = sums.total;
    }
    // A geometric mean finds roots many orders of magnitude below 1, an arithmetic one the rest.
    const double middle = lower > 0 ? (upper > 4 * lower ? std::sqrt(lower) * std::sqrt(upper)
                                                         : lower + (upper - lower) / 2)
                                    : upper / 1024;
    double next = upper - newton_step(exponent, {total_upper, slope_upper});
    if (passes % 3 == 2 || !(next > lower && next < upper)) next = middle;
    if (upper - lower <= tolerance * upper || !(next > lower && next < upper)) {
      settled = 1;
      return;
    }
    root = next;
  }
};

}  // namespace alphamargin
