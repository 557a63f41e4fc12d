#include "head/dense_rows.h"

#include <algorithm>
#include <cmath>

#include "cpu/kernel_set.h"
#include "head/nearest.h"
#include "head/sub_centres.h"
#include "math/label_smoothing.h"

namespace alphamargin {
namespace {

// Softmax of one row over chunks: running maximum and sum of the classes other than the target.
struct SoftmaxState {
  double largest = -INFINITY;
  double total = 0;
  double logits = 0;  // Σ of s·c + log q, for label smoothing

  // `cosines` [count] is the row's part of the chunk; the target's is struck out.
  void add(const HeadInputs& inputs, const SolvedRow& row, float* cosines, std::size_t begin,
           std::size_t count) {
    const KernelSet& kernels = kernel_set();
    strike_target(row, cosines, begin, count);
    const double scale = inputs.loss.scale;
    for (std::size_t j = 0; inputs.loss.smoothing > 0 && j < count; ++j) {
      if (cosines[j] > -INFINITY) logits += logit(inputs, scale, cosines[j], begin + j);
    }
    double chunk_largest = largest;
    double sum = 0;
    if (inputs.reference == nullptr) {
      chunk_largest = std::max<double>(largest, scale * kernels.largest(cosines, count));
      if (chunk_largest == -INFINITY) return;
      sum = kernels.exp_sum({scale, 0, chunk_largest}, cosines, count);
    } else {
      for (std::size_t j = 0; j < count; ++j) {
        chunk_largest = std::max(chunk_largest, logit(inputs, scale, cosines[j], begin + j));
      }
      if (chunk_largest == -INFINITY) return;
      for (std::size_t j = 0; j < count; ++j) {
        sum += std::exp(logit(inputs, scale, cosines[j], begin + j) - chunk_largest);
      }
    }
    total = total * std::exp(largest - chunk_largest) + sum;
    largest = chunk_largest;
  }

  static bool is_target(const SolvedRow& row, std::size_t identity) {
    return row.target.present && identity == static_cast<std::size_t>(row.label_row);
  }

 private:
  static double logit(const HeadInputs& inputs, double scale, float cosine, std::size_t identity) {
    return scale * cosine + std::log(inputs.measure(identity));
  }
};

// Threshold of one row by passes over all classes: Newton's proposals inside a bracket (threshold.h
// without stored candidates).
struct PassState {
  double largest = -INFINITY;  // over all classes, then the zero of the gaps
  double lower = 0;
  double upper = INFINITY;
  double root = 0;
  double total = 0;
  double slope = 0;
  double total_lower = 0;
  double total_upper = 0;
  bool settled = false;
};

constexpr double kPassTolerance = 1e-12;

class PassSolver {
 public:
  PassSolver(const HeadInputs& inputs, const DenseRows& rows, SolvedBatch& solved)
      : inputs_(inputs), rows_(rows), solved_(solved), states_(rows.size()) {}

  void solve() {
    find_largest();
    for (int pass = 0; pass < 256 && !all_settled(); ++pass) {
      for (PassState& state : states_) state.total = state.slope = 0;
      rows_.for_chunks(inputs_,
                       [&](std::size_t i, float* cosines, std::size_t begin, std::size_t count) {
                         if (!states_[i].settled) add(i, cosines, begin, count);
                       });
      for (std::size_t i = 0; i < rows_.size(); ++i) {
        if (!states_[i].settled) advance(i);
      }
    }
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const PassState& state = states_[i];
      RowSolution& solution = solved_.rows[rows_.index(i)].solution;
      if (inputs_.loss.order.is_convex()) {
        solution = {state.largest, state.upper, state.upper, 0};
      } else {
        const double gap = state.total_upper - state.total_lower;
        solution = {state.largest, state.lower, state.upper,
                    gap > 0 ? (1 - state.total_lower) / gap : 0};
      }
    }
  }

 private:
  const SolvedRow& row(std::size_t i) const { return solved_.rows[rows_.index(i)]; }

  bool all_settled() const {
    return std::all_of(states_.begin(), states_.end(),
                       [](const PassState& state) { return state.settled; });
  }

  // The first bracket. One class alone has Φ = 1 at d = q^{-(α−1)}, so every c_j − q_j^{-(α−1)}/β
  // is a lower bound of the threshold in units of cosines; the largest of them is taken.
  void find_largest() {
    const double beta = inputs_.loss.beta();
    const double excess = inputs_.loss.order.excess;
    std::vector<double> bounds(rows_.size(), -INFINITY);
    rows_.for_chunks(
        inputs_, [&](std::size_t i, float* cosines, std::size_t begin, std::size_t count) {
          for (std::size_t j = 0; j < count; ++j) {
            if (SoftmaxState::is_target(row(i), begin + j)) continue;
            const double alone =
                inputs_.reference == nullptr ? 1.0 : std::pow(inputs_.measure(begin + j), -excess);
            bounds[i] = std::max(bounds[i], cosines[j] - alone / beta);
            states_[i].largest = std::max<double>(states_[i].largest, cosines[j]);
          }
        });
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      PassState& state = states_[i];
      const RowTarget& target = row(i).target;
      if (target.present) {
        const double alone = target.gamma * std::pow(target.measure, -excess);
        bounds[i] = std::max(bounds[i], target.cosine - alone / beta);
        state.largest = std::max(state.largest, target.cosine);
      }
      // Rounded up: an upper bound of the root must not lose its last digit.
      state.upper = beta * (state.largest - bounds[i]) * (1 + 0x1p-50);
      if (!(std::isfinite(state.upper) && state.upper > 0)) {
        throw out_of_range(state.upper);
      }
      state.root = state.upper;
    }
  }

  void add(std::size_t i, float* cosines, std::size_t begin, std::size_t count) {
    PassState& state = states_[i];
    const double beta = inputs_.loss.beta();
    visit_power(inputs_.loss.order, [&](auto power) {
      for (std::size_t j = 0; j < count; ++j) {
        if (SoftmaxState::is_target(row(i), begin + j)) continue;
        const double d = state.root - beta * (state.largest - cosines[j]);
        if (!(d > 0)) continue;
        const double reduced = inputs_.measure(begin + j) * power.reduced(d);
        state.slope += reduced;
        state.total += reduced * d;
      }
    });
  }

  void advance(std::size_t i) {
    PassState& state = states_[i];
    const RowTarget& target = row(i).target;
    if (target.present) {
      const double inverse_gamma = 1 / target.gamma;
      const double d =
          (state.root - inputs_.loss.beta() * (state.largest - target.cosine)) * inverse_gamma;
      if (d > 0) {
        visit_power(inputs_.loss.order, [&](auto power) {
          const double reduced = target.measure * power.reduced(d);
          state.slope += reduced * inverse_gamma;
          state.total += reduced * d;
        });
      }
    }
    if (state.total >= 1) {
      state.upper = state.root;
      state.total_upper = state.total;
    } else {
      state.lower = state.root;
      state.total_lower = state.total;
    }
    if (state.total == 1 || state.upper - state.lower <= kPassTolerance * state.upper) {
      state.settled = true;
      return;
    }
    double next = state.root;
    if (state.total > 0) {
      next -= newton_step(inputs_.loss.order.exponent, {state.total, state.slope});
    }
    if (inputs_.loss.order.is_convex() && state.total >= 1 &&
        state.root - next <= kPassTolerance * state.root) {
      state.settled = true;
      return;
    }
    if (!(next > state.lower && next < state.upper)) {
      next = state.lower + (state.upper - state.lower) / 2;
    }
    state.root = next;
  }

  const HeadInputs& inputs_;
  const DenseRows& rows_;
  SolvedBatch& solved_;
  std::vector<PassState> states_;
};

void solve_softmax_rows(const HeadInputs& inputs, const DenseRows& rows, SolvedBatch& solved) {
  std::vector<SoftmaxState> states(rows.size());
  rows.for_chunks(inputs, [&](std::size_t i, float* cosines, std::size_t begin, std::size_t count) {
    states[i].add(inputs, solved.rows[rows.index(i)], cosines, begin, count);
  });
  for (std::size_t i = 0; i < rows.size(); ++i) {
    SolvedRow& row = solved.rows[rows.index(i)];
    const SoftmaxState& state = states[i];
    double largest = state.largest;
    double own = 0;
    if (row.target.present) {
      const double logit = target_logit(inputs.loss, row.target);
      largest = std::max(largest, logit);
      own = std::exp(logit - largest);
      row.smoothing =
          smoothing_loss(inputs.loss.smoothing, static_cast<double>(inputs.prototypes.classes()),
                         logit, state.logits);
    }
    const double others = state.total > 0 ? state.total * std::exp(state.largest - largest) : 0.0;
    const double total = others + own;
    row.solution = {largest / inputs.loss.scale, std::log(total), 0, 0};
    row.others = others / total;
    row.own = own / total;
    row.support = static_cast<std::int64_t>(inputs.prototypes.classes());
  }
}

// Support size and moments of rows whose threshold is known.
void measure_rows(const HeadInputs& inputs, const DenseRows& rows, SolvedBatch& solved) {
  rows.for_chunks(inputs, [&](std::size_t i, float* cosines, std::size_t begin, std::size_t count) {
    SolvedRow& row = solved.rows[rows.index(i)];
    visit_posterior(inputs.loss, row.solution, [&](const auto& posterior_of) {
      for (std::size_t j = 0; j < count; ++j) {
        if (SoftmaxState::is_target(row, begin + j)) continue;
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

// Room for the cosines of as many chunks as fit the share of these rows in the budget, which they
// do not need for candidates.
void keep_cosines(const HeadInputs& inputs, SolvedBatch& solved) {
  const auto rows = static_cast<std::size_t>(std::count_if(
      solved.rows.begin(), solved.rows.end(), [](const SolvedRow& row) { return row.dense; }));
  const std::size_t chunk_rows = chunk_size(inputs.prototypes);
  const std::size_t all = (inputs.prototypes.identities + chunk_rows - 1) / chunk_rows;
  const std::size_t chunk = rows * std::min(chunk_rows, inputs.prototypes.identities);
  const std::size_t share = inputs.scratch_budget / inputs.batch.rows * rows;
  const std::size_t chunks = std::min(all, share / sizeof(float) / chunk);
  solved.kept = std::make_shared<KeptCosines>(
      KeptCosines{make_buffer<float>(inputs.scratch, chunks * chunk), chunks, 0});
}

}  // namespace

DenseRows::DenseRows(const HeadInputs& inputs, const SolvedBatch& solved)
    : solved_(solved),
      sub_centres_(inputs.prototypes.sub_centres),
      unit_(make_buffer<float>(inputs.scratch)),
      packed_unit_(make_buffer<float>(inputs.scratch)) {
  for (std::size_t row = 0; row < solved.rows.size(); ++row) {
    if (solved.rows[row].dense) indices_.push_back(row);
  }
  const std::size_t dim = inputs.batch.dim;
  unit_.resize(indices_.size() * dim);
  for (std::size_t i = 0; i < indices_.size(); ++i) {
    const float* source = inputs.batch.unit_row(indices_[i]);
    std::copy(source, source + dim, unit_.data() + i * dim);
  }
  pack_left(inputs.runtime, {unit_.data(), dim}, size(), dim, packed_unit_);
  if (solved.top.empty()) return;
  for (const std::size_t row : indices_) {
    penalties_.push_back(inputs.penalty(solved.rows[row]));
    top_.push_back(&solved.top[row]);
  }
}

void DenseRows::find_factors(const HeadInputs& inputs, std::size_t begin, std::size_t count,
                             ChunkScratch& chunk) {
  chunk.factors.resize(count);
  for (std::size_t j = 0; j < count; ++j) {
    chunk.factors[j] = static_cast<float>(1 / inputs.prototypes.norms[begin + j]);
  }
}

float* DenseRows::cosines(const HeadInputs& inputs, std::size_t begin, std::size_t count,
                          ChunkScratch& chunk) const {
  KeptCosines& kept = *solved_.kept;
  const std::size_t chunk_rows = chunk_size(inputs.prototypes);
  const std::size_t place = begin / chunk_rows;
  float* values = nullptr;
  if (place < kept.chunks) {
    values = kept.values.data() + place * size() * chunk_rows;
    if (place < kept.filled) return values;
  } else {
    chunk.unkept.resize(size() * count);
    values = chunk.unkept.data();
  }
  make_cosines(inputs, begin, count, chunk, values);
  // Every pass is complete: chunks are filled in order.
  if (place < kept.chunks) kept.filled = place + 1;
  return values;
}

void DenseRows::make_cosines(const HeadInputs& inputs, std::size_t begin, std::size_t count,
                             ChunkScratch& chunk, float* values) const {
  const std::size_t dim = inputs.batch.dim;
  find_factors(inputs, begin, count, chunk);
  packed_product(inputs.runtime, packed_unit_, chunk.panels.right,
                 {inputs.prototypes.row(begin), dim, true, chunk.factors.data()}, size(), dim,
                 count, values);
  bytes_read_ += count * dim * sizeof(float);
  if (sub_centres_ > 1) {
    inputs.runtime.pool.run(size(), [&](std::size_t i) {
      keep_best_sub_centres(solved_.rows[indices_[i]], begin, count, values + i * count);
    });
  }
  if (penalties_.empty()) return;
  for (std::size_t i = 0; i < size(); ++i) {
    for_top(i, begin, count,
            [&](std::size_t j) { values[i * count + j] += static_cast<float>(penalties_[i]); });
  }
}

void DenseRows::keep_best_sub_centres(const SolvedRow& row, std::size_t begin, std::size_t count,
                                      float* cosines) const {
  for_identities(
      count, sub_centres_, [](std::size_t place) { return place; },
      [&](std::size_t place) { return cosines[place]; },
      [&](std::size_t best, std::size_t first, std::size_t last) {
        const bool is_target = row.target.present && (begin + first) / sub_centres_ ==
                                                         static_cast<std::size_t>(row.label);
        for (std::size_t place = first; place < last; ++place) {
          if (is_target || place != best) cosines[place] = -INFINITY;
        }
      });
}

// The top classes of rows that are solved densely, by exact cosines: one more pass of the filter.
void find_top_classes(const HeadInputs& inputs, SolvedBatch& solved) {
  if (inputs.loss.top_penalty == 0 || inputs.labels == nullptr || !solved.has_dense_rows()) return;
  const std::size_t rows = solved.rows.size();
  const std::size_t k = std::min(inputs.loss.top_count + 1, inputs.prototypes.classes());
  std::vector<std::int32_t> identities(rows * k);
  std::vector<float> cosines(rows * k);
  solved.bytes_read += nearest(inputs.runtime, inputs.scratch, inputs.prototypes, inputs.batch, k,
                               identities.data(), cosines.data(), inputs.cancellation);
  solved.top.resize(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t rank = 0; rank < k; ++rank) {
      const std::int32_t identity = identities[row * k + rank];
      if (identity == solved.rows[row].label) continue;
      if (solved.top[row].size() < inputs.loss.top_count) solved.top[row].push_back(identity);
    }
  }
}

void solve_dense_rows(const HeadInputs& inputs, SolvedBatch& solved) {
  if (!solved.has_dense_rows()) return;
  find_top_classes(inputs, solved);
  keep_cosines(inputs, solved);
  const DenseRows rows(inputs, solved);
  if (inputs.loss.order.is_softmax()) {
    solve_softmax_rows(inputs, rows, solved);
  } else {
    PassSolver(inputs, rows, solved).solve();
    measure_rows(inputs, rows, solved);
  }
  solved.bytes_read += rows.bytes_read();
}

}  // namespace alphamargin
