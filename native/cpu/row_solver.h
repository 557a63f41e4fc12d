#pragma once
// The posterior of one row of cosines (or logits) under a loss: the step that the dense operations,
// the head's sparse rows and its dense rows share.
//
// All of it is float64. Differences of cosines are taken before they are scaled, so they are exact.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "common/failure.h"
#include "common/memory_account.h"
#include "math/alpha_divergence.h"
#include "math/margin.h"
#include "math/threshold.h"

namespace alphamargin {

// A row's threshold, enough to evaluate its posterior at any class.
//   α > 1: gap_j = β(reference − c_j), p_j from the root, see threshold.h
//   α = 1: p_j = q_j exp(s(c_j − reference) − lower)
struct RowSolution {
  double reference = 0;
  double lower = 0;
  double upper = 0;
  double mix = 0;
};

inline constexpr std::size_t kSolutionSize = 4;
static_assert(sizeof(RowSolution) == kSolutionSize * sizeof(double));

// Posterior of classes other than the target, as a function of cosine and measure.
template <class Power>
struct SparsePosterior {
  Power power;
  double beta;
  RowSolution solution;
  double operator()(double cosine, double measure) const { return at(cosine, measure, 1.0); }
  double target(const RowTarget& target) const {
    return at(target.cosine, target.measure, 1 / target.gamma);
  }

 private:
  double at(double cosine, double measure, double inverse) const {
    return posterior_at(power, {solution.lower, solution.upper, solution.mix},
                        beta * (solution.reference - cosine), measure, inverse);
  }
};

struct SoftmaxPosterior {
  double beta;
  RowSolution solution;
  double operator()(double cosine, double measure) const {
    return measure * std::exp(beta * (cosine - solution.reference) - solution.lower);
  }
  double target(const RowTarget& target) const {
    return target.measure * std::exp(beta * (target.cosine - solution.reference) - solution.lower +
                                     target.log_factor);
  }
};

// Calls visitor(posterior) with the posterior function of a solved row.
template <class Visitor>
auto visit_posterior(const Loss& loss, const RowSolution& solution, Visitor&& visitor) {
  if (loss.order.is_softmax()) {
    return visitor(SoftmaxPosterior{loss.beta(), solution});
  }
  return visit_power(loss.order, [&](auto power) {
    return visitor(SparsePosterior<decltype(power)>{power, loss.beta(), solution});
  });
}

// θ_y + log q_y with the margin in both: the target's logit under softmax.
inline double target_logit(const Loss& loss, const RowTarget& target) {
  return loss.scale * target.cosine + std::log(target.measure) + target.log_factor;
}

// θ-threshold τ of a solved row (in units of the logits s·c).
double row_threshold(const Loss& loss, const RowSolution& solution);

// The cosine at or below which a class is outside the support, from a root on any subset.
inline double support_bound(const Loss& loss, const RowSolution& solution) {
  return solution.reference - solution.upper / loss.beta();
}

// Loss value from excess_logit = Σ p_j(θ_j − θ_y):
//   ℓ = Σ p_j(θ_j − θ_y) − (1/α) Σ p_j(θ_j − τ) + (1/α)·deformed(s m − log q_y)
// It follows from (p_j/q_j)^{α−1} = 1 + (α−1)(θ_j − τ) and holds, without cancellation in 1/(α−1),
// for every α ≥ 1; at α = 1 it is the cross-entropy.
double row_loss(const Loss& loss, const RowTarget& target, const RowSolution& solution,
                double excess_logit);

// The error of a row whose first bound of the root is not a positive finite number.
inline Failure out_of_range(double start) {
  return Failure(
      FailureCode::kInvalidArgument,
      "expected alpha and reference to keep q^(1-alpha) within float64 but it is " + shown(start));
}

// Solves rows. Holds scratch of the row's candidates; one per piece of parallel work.
class RowSolver {
 public:
  explicit RowSolver(MemoryAccount& account)
      : gaps_(make_buffer<double>(account)), measures_(make_buffer<double>(account)) {}

  // `cosine(j)` and `measure(j)` (only called with has_measure) are the classes 0 … count − 1 other
  // than the target; `skip` is an index among them to pass over (the target's place in a dense
  // row), or `count`. Tolerance 0 gives the exact root; a larger one gives a root that is too
  // large by at most that, whose support_bound() is still safe for α ≤ 2 and for the bracket.
  // `known_bound`: a cosine that the threshold is known to reach, to begin the search at.
  template <class Cosine, class Measure>
  RowSolution solve(const Loss& loss, const RowTarget& target, std::size_t count, std::size_t skip,
                    bool has_measure, const Cosine& cosine, const Measure& measure,
                    double tolerance = 0, double known_bound = -INFINITY) {
    return loss.order.is_softmax()
               ? solve_softmax(loss, target, count, skip, has_measure, cosine, measure)
               : solve_sparse(loss, target, count, skip, has_measure, cosine, measure, tolerance,
                              known_bound);
  }

 private:
  template <class Cosine, class Measure>
  RowSolution solve_softmax(const Loss& loss, const RowTarget& target, std::size_t count,
                            std::size_t skip, bool has_measure, const Cosine& cosine,
                            const Measure& measure) {
    if (has_measure) return solve_measured_softmax(loss, target, count, skip, cosine, measure);
    const double beta = loss.beta();
    double largest = -INFINITY;
    for (std::size_t j = 0; j < count; ++j) {
      if (j == skip) continue;
      const double logit = beta * cosine(j);
      if (logit > largest) largest = logit;
    }
    double own = 0;
    if (target.present) {
      own = target_logit(loss, target);
      if (own > largest) largest = own;
    }
    double total = target.present ? std::exp(own - largest) : 0.0;
    for (std::size_t j = 0; j < count; ++j) {
      if (j == skip) continue;
      total += std::exp(beta * cosine(j) - largest);
    }
    return {largest / beta, std::log(total), 0, 0};
  }

  // Gaps below the largest cosine first, which are exact: log q would be lost in a large s·c. Then
  // the largest of s·c + log q is taken off, so that measures of any size cannot overflow.
  template <class Cosine, class Measure>
  RowSolution solve_measured_softmax(const Loss& loss, const RowTarget& target, std::size_t count,
                                     std::size_t skip, const Cosine& cosine,
                                     const Measure& measure) {
    const double beta = loss.beta();
    double best = target.present ? target.cosine : -INFINITY;
    for (std::size_t j = 0; j < count; ++j) {
      if (j != skip && cosine(j) > best) best = cosine(j);
    }
    const auto logit = [&](std::size_t j) {
      return beta * (cosine(j) - best) + std::log(measure(j));
    };
    const double target_logit = target.present ? beta * (target.cosine - best) +
                                                     std::log(target.measure) + target.log_factor
                                               : -INFINITY;
    double largest = target_logit;
    for (std::size_t j = 0; j < count; ++j) {
      if (j != skip) largest = std::max(largest, logit(j));
    }
    double total = target.present ? std::exp(target_logit - largest) : 0.0;
    for (std::size_t j = 0; j < count; ++j) {
      if (j != skip) total += std::exp(logit(j) - largest);
    }
    return {best, largest + std::log(total), 0, 0};
  }

  template <class Cosine, class Measure>
  RowSolution solve_sparse(const Loss& loss, const RowTarget& target, std::size_t count,
                           std::size_t skip, bool has_measure, const Cosine& cosine,
                           const Measure& measure, double tolerance, double known_bound) {
    const double beta = loss.beta();
    const double excess = loss.order.excess;
    // The largest cosine is the zero of all gaps.
    std::size_t best = count;
    double largest = -INFINITY;
    for (std::size_t j = 0; j < count; ++j) {
      if (j != skip && cosine(j) > largest) {
        largest = cosine(j);
        best = j;
      }
    }
    if (target.present && target.cosine > largest) largest = target.cosine;
    // A root on any subset is an upper bound: one class alone has d = q^{-(α−1)}.
    double start = INFINITY;
    if (best < count) {
      const double alone = has_measure ? std::pow(measure(best), -excess) : 1.0;
      start = beta * (largest - cosine(best)) + alone;
      // Rounded up: a q^{-(α−1)} below the gap's last digit must not be lost.
      if (largest > cosine(best)) start *= 1 + 0x1p-51;
    }
    // Measures of different sizes need the least of these bounds: a Newton step from one that is
    // many orders above the root would lose the root's digits.
    for (std::size_t j = 0; has_measure && j < count; ++j) {
      if (j == skip) continue;
      const double gap = beta * (largest - cosine(j));
      if (gap >= start) continue;
      // Rounded up: a d below the gap's last digit must not be lost.
      const double bound = (gap + std::pow(measure(j), -excess)) * (1 + 0x1p-51);
      if (bound < start) start = bound;
    }
    TargetTerm term;
    double target_start = INFINITY;
    if (target.present) {
      term = {beta * (largest - target.cosine), target.measure, 1 / target.gamma};
      target_start = term.gap + target.gamma * std::pow(target.measure, -excess);
      if (target.measure > 1) target_start *= 1 + 0x1p-51;
      if (target_start < start) start = target_start;
    }
    if (!(std::isfinite(start) && start > 0)) {
      throw out_of_range(start);
    }
    const double known_start = beta * (largest - known_bound) * (1 + 0x1p-50);
    if (known_start > 0 && known_start < start) start = known_start;
    gaps_.clear();
    measures_.clear();
    const double limit = largest - start / beta * (1 + 1e-12);
    for (std::size_t j = 0; j < count; ++j) {
      // The first comparison is cheap and a little generous, the second decides.
      if (j == skip || cosine(j) < limit) continue;
      const double gap = beta * (largest - cosine(j));
      if (gap >= start) continue;
      gaps_.push_back(gap);
      if (has_measure) measures_.push_back(measure(j));
    }
    // The target alone: a row at zero loss is exactly that, not nearly.
    if (gaps_.empty() && target.present && start == target_start) {
      return {largest, start, start, 0};
    }
    Candidates candidates{gaps_.data(), has_measure ? measures_.data() : nullptr, gaps_.size()};
    const ThresholdRoot root = visit_power(loss.order, [&](auto power) {
      return solve_threshold(loss.order, power, start, tolerance, candidates, term);
    });
    // A root of (Σq)^(1−α) can leave float64 although every q^(1−α) is inside: powers of what is
    // left of it would be infinite.
    if (!(std::isnormal(root.upper) && std::isfinite(root.mix))) throw out_of_range(root.upper);
    return {largest, root.lower, root.upper, root.mix};
  }

  Buffer<double> gaps_;
  Buffer<double> measures_;
};

}  // namespace alphamargin
