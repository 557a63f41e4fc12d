// Rows of α > 1 that have more candidates than fit: the threshold by passes over all classes.
//
// Twice: first roughly, with float32 cosines; that says which classes have the large posteriors,
// and with their exact cosines (exact_classes.h) the threshold is found to the last digits.

#include <algorithm>
#include <cmath>

#include "head/dense_rows.h"
#include "math/threshold_passes.h"

namespace alphamargin {
namespace {

constexpr double kRoughTolerance = 1e-3;
constexpr int kMostPasses = 1024;

struct PassState {
  double best = -INFINITY;     // cosine of the classes other than the target
  double largest = -INFINITY;  // over all classes: the zero of the gaps
  double start = INFINITY;
  ThresholdPasses search;
  ThresholdSums sums{0, 0};
};

class PassSolver {
 public:
  PassSolver(const HeadInputs& inputs, const DenseRows& rows, SolvedBatch& solved)
      : inputs_(inputs), rows_(rows), solved_(solved), states_(rows.size()) {}

  void solve() {
    search(kRoughTolerance);
    const ExactClasses exact = exact_classes(inputs_.loss);
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const PassState& state = states_[i];
      rows_.set_exact_from(i, exact.from({state.largest, 0, state.search.result().upper, 0}));
    }
    search(0);
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const ThresholdRoot root = states_[i].search.result();
      // As in RowSolver: powers of what is left of such a root would be infinite.
      if (!(std::isnormal(root.upper) && std::isfinite(root.mix))) throw out_of_range(root.upper);
      solved_.rows[rows_.index(i)].solution = {states_[i].largest, root.lower, root.upper,
                                               root.mix};
    }
  }

 private:
  const SolvedRow& row(std::size_t i) const { return solved_.rows[rows_.index(i)]; }

  void search(double tolerance) {
    find_start();
    const auto all_settled = [&] {
      return std::all_of(states_.begin(), states_.end(),
                         [](const PassState& state) { return state.search.settled != 0; });
    };
    for (int pass = 0; pass < kMostPasses && !all_settled(); ++pass) {
      for (PassState& state : states_) state.sums = {0, 0};
      rows_.for_chunks(inputs_, [&](std::size_t i, const float* cosines, std::size_t begin,
                                    std::size_t count) { add(i, cosines, begin, count); });
      for (std::size_t i = 0; i < rows_.size(); ++i) {
        if (states_[i].search.settled != 0) continue;
        add_target(i);
        states_[i].search.step(inputs_.loss.order.exponent, states_[i].sums, tolerance);
      }
    }
  }

  // The least of the upper bounds that single classes give: a Newton step from one that is many
  // orders above the root would lose the root's digits. Measures far above 1 have roots far below a
  // unit of the cosines, so gaps are taken from the largest cosine, which needs a pass before.
  void find_start() {
    const double beta = inputs_.loss.beta();
    const double excess = inputs_.loss.order.excess;
    states_.assign(states_.size(), {});
    rows_.for_chunks(
        inputs_, [&](std::size_t i, const float* cosines, std::size_t begin, std::size_t count) {
          for (std::size_t j = 0; j < count; ++j) {
            if (rows_.is_target(i, begin + j)) continue;
            states_[i].best = std::max<double>(states_[i].best, cosines[j]);
          }
        });
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      PassState& state = states_[i];
      const RowTarget& target = row(i).target;
      state.largest = target.present ? std::max(state.best, target.cosine) : state.best;
      if (target.present) {
        lower_start(state, beta * (state.largest - target.cosine),
                    target.gamma * std::pow(target.measure, -excess));
      }
      if (inputs_.reference == nullptr) lower_start(state, beta * (state.largest - state.best), 1);
    }
    if (inputs_.reference != nullptr) {
      rows_.for_chunks(
          inputs_, [&](std::size_t i, const float* cosines, std::size_t begin, std::size_t count) {
            PassState& state = states_[i];
            for (std::size_t j = 0; j < count; ++j) {
              const double gap = beta * (state.largest - cosines[j]);
              if (rows_.is_target(i, begin + j) || gap >= state.start) continue;
              lower_start(state, gap, std::pow(inputs_.measure(begin + j), -excess));
            }
          });
    }
    for (PassState& state : states_) {
      if (!(std::isfinite(state.start) && state.start > 0)) throw out_of_range(state.start);
      state.search.begin(state.start);
    }
  }

  static void lower_start(PassState& state, double gap, double alone) {
    state.start = std::min(state.start, start_of(gap, alone));
  }

  void add(std::size_t i, const float* cosines, std::size_t begin, std::size_t count) {
    PassState& state = states_[i];
    if (state.search.settled != 0) return;
    const double beta = inputs_.loss.beta();
    const double root = state.search.root;
    visit_power(inputs_.loss.order, [&](auto power) {
      for (std::size_t j = 0; j < count; ++j) {
        const double d = root - beta * (state.largest - cosines[j]);
        if (!(d > 0) || rows_.is_target(i, begin + j)) continue;
        const double reduced = inputs_.measure(begin + j) * power.reduced(d);
        state.sums.slope += reduced;
        state.sums.total += reduced * d;
      }
    });
  }

  void add_target(std::size_t i) {
    PassState& state = states_[i];
    const RowTarget& target = row(i).target;
    if (!target.present) return;
    const double inverse_gamma = 1 / target.gamma;
    const double gap = inputs_.loss.beta() * (state.largest - target.cosine);
    const double d = (state.search.root - gap) * inverse_gamma;
    if (!(d > 0)) return;
    visit_power(inputs_.loss.order, [&](auto power) {
      const double reduced = target.measure * power.reduced(d);
      state.sums.slope += reduced * inverse_gamma;
      state.sums.total += reduced * d;
    });
  }

  const HeadInputs& inputs_;
  const DenseRows& rows_;
  SolvedBatch& solved_;
  std::vector<PassState> states_;
};

// Support size and moments of rows whose threshold is known.
void measure_rows(const HeadInputs& inputs, const DenseRows& rows, SolvedBatch& solved) {
  rows.for_chunks(inputs, [&](std::size_t i, float* cosines, std::size_t begin, std::size_t count) {
    SolvedRow& row = solved.rows[rows.index(i)];
    visit_posterior(inputs.loss, row.solution, [&](const auto& posterior_of) {
      for (std::size_t j = 0; j < count; ++j) {
        if (rows.is_target(i, begin + j)) continue;
        const double cosine = cosines[j];
        const double p = posterior_of(cosine, inputs.measure(begin + j));
        if (!(p > 0)) continue;
        row.others += p;
        row.excess_cosine += p * (cosine - row.target.cosine);
        ++row.support;
      }
    });
  });
  for (std::size_t i = 0; i < rows.size(); ++i) {
    SolvedRow& row = solved.rows[rows.index(i)];
    if (!row.target.present) continue;
    visit_posterior(inputs.loss, row.solution,
                    [&](const auto& posterior_of) { row.own = posterior_of.target(row.target); });
    row.support += row.own > 0 ? 1 : 0;
  }
}

}  // namespace

void solve_by_passes(const HeadInputs& inputs, const DenseRows& rows, SolvedBatch& solved) {
  PassSolver(inputs, rows, solved).solve();
  measure_rows(inputs, rows, solved);
}

}  // namespace alphamargin
