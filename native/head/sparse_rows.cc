// Rows whose support is a small part of the classes: stream with rising bounds, rescore what is
// left from the float32 originals in float64, solve exactly.
//
// Why it is exact: a threshold solved on a subset of the classes never exceeds the true one, so a
// class at or below it is outside the support. The filter's cosines are off by at most its slack δ:
// thresholds are solved on c̃ − δ and classes dropped only if c̃ + δ is below.
//
// And from an assumed bound (recent_thresholds.h): what was dropped on the assumption alone is
// outside the support if the threshold solved on the rest reaches it, for that is no larger than
// the true one. Rows where it does not are streamed again without the assumption.

#include <algorithm>
#include <cmath>

#include "cpu/kernel_set.h"
#include "cpu/row_pieces.h"
#include "cpu/top_classes.h"
#include "head/candidate_stream.h"
#include "head/row_gather.h"
#include "head/solved_rows.h"
#include "head/sub_centres.h"
#include "math/label_smoothing.h"

namespace alphamargin {
namespace {

// Bounds on the way need few digits: any larger root is a safe bound.
constexpr double kBoundTolerance = 1e-3;

// Without an assumed bound a row keeps several times as many candidates for a while. That no row
// would have overflowed is certain enough where its list has room for so many times what it kept.
constexpr std::size_t kRoomForMore = 4;

// Bytes a candidate costs until the backward pass is done: itself, its support entry, its place in
// the transposed list.
constexpr std::size_t kBytesPerCandidate =
    kBytesPerListed + sizeof(SupportEntry) + sizeof(ClassPair);

// Bound on c̃ below which (or at which) a class is certainly outside the support.
float filter_bound(double threshold, double slack) {
  // The threshold is that of c̃ − δ for the classes and exact for the target; −δ again for the class
  // that is compared. Rounded down, so that float32 cannot raise it.
  const double bound = threshold - slack;
  if (bound < -2) return -INFINITY;  // below every cosine
  const double safe = bound - 1e-7 * std::fabs(bound) - 1e-12;
  return std::nextafter(static_cast<float>(safe), -INFINITY);
}

// Turns what rows have kept into bounds, and rows that keep too much into dense ones.
class Tightening {
 public:
  Tightening(const HeadInputs& inputs, SolvedBatch& solved, const PrototypeFilter& filter)
      : inputs_(inputs),
        solved_(solved),
        filter_(filter),
        row_limit_(std::max<std::size_t>(16, inputs.scratch_budget / kBytesPerCandidate /
                                                 std::max<std::size_t>(1, inputs.batch.rows))),
        assumed_(inputs.recent == nullptr || inputs.labels == nullptr
                     ? -INFINITY
                     : inputs.recent->assumed(inputs.loss)),
        is_assuming_(inputs.batch.rows, assumed_ > -INFINITY),
        kept_(inputs.batch.rows, 0),
        thresholds_(inputs.batch.rows, -INFINITY) {}

  // What the target alone says: a root on any classes is a bound.
  float first_bound(std::size_t row) {
    if (solved_.rows[row].ignored) return INFINITY;
    const RowTarget& target = solved_.rows[row].target;
    if (target.present) {
      const double gap = target.gamma * std::pow(target.measure, -inputs_.loss.order.excess);
      thresholds_[row] = target.cosine - gap / inputs_.loss.beta();
    }
    return bound(row);
  }

  // Whether the assumption does not hold for a row that has seen all classes, or may have kept it
  // from overflowing. The row is then as it was before the first of them.
  bool must_restart(std::size_t row, const CandidateList& list) {
    SolvedRow& state = solved_.rows[row];
    if (is_assuming_[row] == 0 || state.ignored) return false;
    const bool has_room = !state.dense && list.size() <= row_limit_ / kRoomForMore;
    if (has_room && thresholds_[row] >= assumed_) return false;
    is_assuming_[row] = 0;
    state.dense = false;
    thresholds_[row] = -INFINITY;
    return true;
  }

  // Once all rows are solved: what they say to the next call.
  void remember() {
    if (inputs_.recent == nullptr || inputs_.labels == nullptr) return;
    bool is_crowded = false;
    std::size_t missed = 0;
    for (std::size_t row = 0; row < solved_.rows.size(); ++row) {
      const SolvedRow& state = solved_.rows[row];
      if (state.ignored) continue;
      is_crowded = is_crowded || state.dense || kept_[row] > row_limit_ / (2 * kRoomForMore);
      missed += assumed_ > -INFINITY && is_assuming_[row] == 0 ? 1 : 0;
      if (!state.dense) inputs_.recent->add(support_bound(inputs_.loss, state.solution));
    }
    if (assumed_ > -INFINITY) inputs_.recent->judge(missed, inputs_.counted);
    if (is_crowded) inputs_.recent->clear();
  }

  // What thresholds are solved on: one candidate for each identity.
  const CandidateList& one_of_each(const CandidateList& list, CandidateList& best) const {
    const std::size_t sub_centres = inputs_.prototypes.sub_centres;
    if (sub_centres == 1) return list;
    for_identities(
        list.size(), sub_centres, [&](std::size_t j) { return list.identities()[j]; },
        [&](std::size_t j) { return list.cosines()[j]; },
        [&](std::size_t j, std::size_t, std::size_t) {
          best.push_back(list.identities()[j], list.cosines()[j]);
        });
    return best;
  }

  float operator()(std::size_t row, CandidateList& list) {
    SolvedRow& state = solved_.rows[row];
    const double slack = filter_.slack(row);
    double& threshold = thresholds_[row];
    const DivergenceOrder& order = inputs_.loss.order;
    const bool is_simple =
        inputs_.reference == nullptr && order.integer_exponent >= 1 && order.integer_exponent <= 4;
    if (list.size() > 0) {
      CandidateList best(inputs_.scratch);
      const CandidateList& classes = one_of_each(list, best);
      threshold =
          std::max(threshold, is_simple ? fast_threshold(state.target, classes, slack, threshold)
                                        : any_threshold(state.target, classes, slack, threshold));
    }
    const float bound = this->bound(row);
    list.keep_above(bound);
    kept_[row] = list.size();
    if (list.size() > row_limit_) {
      // Streaming again costs less than the memory (dense_rows.h).
      state.dense = true;
      list.release();
      return static_cast<float>(INFINITY);
    }
    return bound;
  }

 private:
  // A class that the inter-top-K penalty may raise is kept from the penalty below the threshold.
  // What was solved without the penalty bounds the threshold with it: that is larger.
  float bound(std::size_t row) const {
    const double threshold =
        is_assuming_[row] == 0 ? thresholds_[row] : std::max(assumed_, thresholds_[row]);
    return filter_bound(threshold, filter_.slack(row) + inputs_.penalty(solved_.rows[row]));
  }

  // A cosine the threshold reaches: Newton's method from below, which never passes it, on the
  // vectorised sums of the common orders.
  double fast_threshold(const RowTarget& target, const CandidateList& list, double slack,
                        double known) const {
    const KernelSet& kernels = kernel_set();
    const DivergenceOrder& order = inputs_.loss.order;
    const double beta = inputs_.loss.beta();
    const double gamma = target.gamma;
    const float largest = kernels.largest(list.cosines(), list.size());
    double threshold = std::max(known, largest - slack - 1 / beta);
    double top = largest - slack;
    if (target.present) {
      threshold = std::max(threshold, target.cosine - gamma / beta);
      top = std::max(top, target.cosine);
    }
    for (int pass = 0; pass < 100; ++pass) {
      ThresholdSums sums = kernels.threshold_sums(order.integer_exponent, beta, threshold + slack,
                                                  list.cosines(), list.size());
      const double d = beta * (target.cosine - threshold) / gamma;
      if (target.present && d > 0) {
        const double reduced = std::pow(d, order.exponent - 1);
        sums.total += target.measure * reduced * d;
        sums.slope += target.measure * reduced / gamma;
      }
      if (!(sums.total > 1)) break;
      const double step = newton_step(order.exponent, sums) / beta;
      threshold += step;
      if (!(step > kBoundTolerance * (top - threshold))) break;
    }
    return threshold;
  }

  double any_threshold(const RowTarget& target, const CandidateList& list, double slack,
                       double known) const {
    try {
      RowSolver solver(inputs_.scratch);
      return support_bound(
          inputs_.loss,
          solver.solve(
              inputs_.loss, target, list.size(), list.size(), inputs_.reference != nullptr,
              [&](std::size_t j) { return static_cast<double>(list.cosines()[j]) - slack; },
              [&](std::size_t j) {
                return inputs_.measure(static_cast<std::size_t>(list.identities()[j]));
              },
              kBoundTolerance, known));
    } catch (const Failure&) {
      // The measures seen so far leave float64; later classes may not. finish_row decides.
      return known;
    }
  }

  const HeadInputs& inputs_;
  SolvedBatch& solved_;
  const PrototypeFilter& filter_;
  std::size_t row_limit_;
  double assumed_;                         // a cosine that thresholds probably reach, or −∞
  std::vector<std::uint8_t> is_assuming_;  // [B]
  std::vector<std::size_t> kept_;          // candidates after the last tightening [B]
  std::vector<double> thresholds_;         // a root found on fewer classes bounds all later ones
};

// The candidates of a row as entries, and no longer as a list.
void take_entries(CandidateList& list, Buffer<SupportEntry>& entries) {
  entries.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) entries.push_back({list.identities()[i], 0, 0});
  list.release();
}

// Exact cosines of the candidates of one row; `wide` [D] is scratch.
void rescore_row(const HeadInputs& inputs, std::size_t row, Buffer<double>& wide,
                 Buffer<SupportEntry>& entries) {
  const PrototypeView& prototypes = inputs.prototypes;
  const float* const embedding = inputs.batch.row(row);
  std::copy(embedding, embedding + prototypes.dim, wide.data());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto identity = static_cast<std::size_t>(entries[i].identity);
    const std::size_t ahead = std::min(i + kPrefetchAhead, entries.size() - 1);
    const auto soon = static_cast<std::size_t>(entries[ahead].identity);
    const double product = kernel_set().dot_wide(wide.data(), prototypes.row(identity),
                                                 prototypes.dim, prototypes.row(soon));
    entries[i].cosine = exact_cosine(prototypes, inputs.batch, row, identity, product);
  }
}

// Exact cosines of all candidates, class by class.
void rescore(const HeadInputs& inputs, SolvedBatch& solved) {
  const PrototypeView& prototypes = inputs.prototypes;
  constexpr std::size_t kPieces = 64;
  const std::size_t slices = (kPieces + solved.by_class.size() - 1) / solved.by_class.size();
  inputs.runtime.pool.run(solved.by_class.size() * slices, [&](std::size_t piece) {
    const ClassRange& range = solved.by_class[piece / slices];
    const std::size_t count = range.segments.size();
    const std::size_t end = count * (piece % slices + 1) / slices;
    for (std::size_t i = count * (piece % slices) / slices; i < end; ++i) {
      if (i + kPrefetchAhead < range.segments.size()) {
        const auto soon = static_cast<std::size_t>(range.segments[i + kPrefetchAhead].identity);
        prefetch_row(prototypes.row(soon), prototypes.dim);
      }
      const ClassSegment& segment = range.segments[i];
      for (std::uint32_t j = segment.begin; j < segment.end; ++j) {
        const ClassPair& pair = range.pairs[j];
        if (pair.slot == kTargetSlot) continue;
        solved.entries[pair.row][pair.slot].cosine = exact_cosine(
            prototypes, inputs.batch, pair.row, static_cast<std::size_t>(segment.identity));
      }
    }
  });
  for (const ClassRange& range : solved.by_class) {
    solved.bytes_read += range.segments.size() * prototypes.dim * sizeof(float);
  }
}

void finish_row(const HeadInputs& inputs, RowSolver& solver, SolvedRow& solved,
                Buffer<SupportEntry>& entries) {
  const auto measure = [&](std::size_t j) {
    return inputs.measure(static_cast<std::size_t>(entries[j].identity));
  };
  // The penalty is in the logits, not in the cosines that the gradient is projected with.
  std::vector<double> own;
  const std::size_t sub_centres = inputs.prototypes.sub_centres;
  if (sub_centres > 1 || inputs.penalty(solved) > 0) {
    own.resize(entries.size());
    for (std::size_t j = 0; j < own.size(); ++j) own[j] = entries[j].cosine;
  }
  if (sub_centres > 1) {
    for_identities(
        own.size(), sub_centres, [&](std::size_t j) { return entries[j].identity; },
        [&](std::size_t j) { return own[j]; },
        [&](std::size_t best, std::size_t first, std::size_t last) {
          for (std::size_t j = first; j < last; ++j) {
            if (j != best) entries[j].cosine = -INFINITY;
          }
        });
  }
  if (inputs.penalty(solved) > 0) {
    // Classes that the filter dropped are behind all that would matter here: their cosines are at
    // least the penalty below the threshold.
    for (const std::uint32_t j : top_places(own.size(), own.size(), inputs.loss.top_count,
                                            [&](std::size_t j) { return entries[j].cosine; })) {
      entries[j].cosine += inputs.penalty(solved);
    }
  }
  solved.solution = solver.solve(
      inputs.loss, solved.target, entries.size(), entries.size(), inputs.reference != nullptr,
      [&](std::size_t j) { return entries[j].cosine; }, measure);
  visit_posterior(inputs.loss, solved.solution, [&](const auto& posterior_of) {
    for (std::size_t j = 0; j < entries.size(); ++j) {
      SupportEntry& entry = entries[j];
      entry.posterior = posterior_of(entry.cosine, measure(j));
      if (!(entry.posterior > 0)) continue;
      solved.others += entry.posterior;
      solved.excess_cosine += entry.posterior * (entry.cosine - solved.target.cosine);
      ++solved.support;
    }
    if (solved.target.present) {
      solved.own = posterior_of.target(solved.target);
    }
  });
  solved.support += solved.own > 0 ? 1 : 0;
  solved.pull = target_pull(inputs.loss.smoothing, static_cast<double>(inputs.prototypes.classes()),
                            solved.others);
  for (std::size_t j = 0; j < own.size(); ++j) entries[j].cosine = own[j];
}

}  // namespace

void solve_sparse_rows(const HeadInputs& inputs, float* grad_embeddings, SolvedBatch& solved) {
  const std::size_t rows = inputs.batch.rows;
  PrototypeFilter filter(inputs.runtime, inputs.scratch, inputs.prototypes, inputs.batch);
  std::vector<CandidateList> lists(rows, CandidateList(inputs.scratch));
  Tightening tighten(inputs, solved, filter);
  auto bounds = make_buffer<float>(inputs.scratch, rows);
  for (std::size_t row = 0; row < rows; ++row) bounds[row] = tighten.first_bound(row);
  CandidateStream stream(inputs.runtime, inputs.scratch, filter, rows, inputs.prototypes.identities,
                         inputs.labels, static_cast<std::int32_t>(inputs.prototypes.sub_centres),
                         bounds, lists, inputs.cancellation, tighten);
  StreamStats stats;
  if (stream.fits_rows()) {
    std::vector<std::size_t> read(rows, 0);  // prototypes
    stats = stream.by_rows([&] {
      return
          [&, solver = RowSolver(inputs.scratch), gather = RowGather(inputs),
           wide = make_buffer<double>(inputs.scratch, inputs.batch.dim)](std::size_t row) mutable {
            Buffer<SupportEntry>& entries = solved.entries[row];
            take_entries(lists[row], entries);
            read[row] = entries.size();
            if (solved.rows[row].dense) return;
            rescore_row(inputs, row, wide, entries);
            if (!solved.rows[row].ignored) finish_row(inputs, solver, solved.rows[row], entries);
            entries.erase(
                std::remove_if(entries.begin(), entries.end(),
                               [](const SupportEntry& entry) { return entry.posterior == 0; }),
                entries.end());
            if (grad_embeddings == nullptr) return;
            read[row] += gather.run(row, solved.rows[row], entries,
                                    grad_embeddings + row * inputs.batch.dim);
          };
    });
    for (const std::size_t count : read) {
      solved.bytes_read += count * inputs.prototypes.dim * sizeof(float);
    }
    solved.has_embedding_gradients = grad_embeddings != nullptr;
    solved.by_class = class_ranges(inputs, solved);
  } else {
    stats = stream.by_classes();
    for_row_pieces(inputs.runtime, rows, 512, [&](std::size_t first, std::size_t last) {
      for (std::size_t row = first; row < last; ++row) {
        take_entries(lists[row], solved.entries[row]);
      }
    });
    solved.by_class = class_ranges(inputs, solved);
    rescore(inputs, solved);
    inputs.runtime.pool.run(rows, [&](std::size_t row) {
      RowSolver solver(inputs.scratch);
      if (!solved.rows[row].dense && !solved.rows[row].ignored)
        finish_row(inputs, solver, solved.rows[row], solved.entries[row]);
    });
  }
  solved.survivors = stats.survivors;
  solved.bytes_read += stats.bytes_read;
  tighten.remember();
  for (const SolvedRow& row : solved.rows) solved.overflow_rows += row.dense ? 1 : 0;
}

SolvedBatch start_rows(const HeadInputs& inputs) {
  SolvedBatch solved;
  solved.rows.resize(inputs.batch.rows);
  solved.entries.assign(inputs.batch.rows, make_buffer<SupportEntry>(inputs.scratch));
  if (inputs.labels == nullptr) return solved;
  const auto start = [&](std::size_t row) {
    SolvedRow& state = solved.rows[row];
    state.ignored = inputs.labels[row] == kIgnoredLabel;
    if (state.ignored) return;
    state.label = inputs.labels[row];
    const std::size_t sub_centres = inputs.prototypes.sub_centres;
    const std::size_t first = static_cast<std::size_t>(state.label) * sub_centres;
    state.label_row = static_cast<std::int32_t>(first);
    state.label_cosine = exact_cosine(inputs.prototypes, inputs.batch, row, first);
    for (std::size_t k = 1; k < sub_centres; ++k) {
      const double cosine = exact_cosine(inputs.prototypes, inputs.batch, row, first + k);
      if (!(cosine > state.label_cosine)) continue;
      state.label_cosine = cosine;
      state.label_row = static_cast<std::int32_t>(first + k);
    }
    state.target =
        margined_target(inputs.loss.of_row(row), state.label_cosine, inputs.measure(first));
  };
  for_row_pieces(inputs.runtime, inputs.batch.rows, inputs.batch.dim,
                 [&](std::size_t first, std::size_t last) {
                   for (std::size_t row = first; row < last; ++row) {
                     if (inputs.labels[row] == kIgnoredLabel) continue;
                     const auto label = static_cast<std::size_t>(inputs.labels[row]);
                     prefetch_row(inputs.prototypes.row(label * inputs.prototypes.sub_centres),
                                  inputs.prototypes.dim);
                   }
                   for (std::size_t row = first; row < last; ++row) start(row);
                 });
  return solved;
}

SolvedBatch solve_rows(const HeadInputs& inputs, float* grad_embeddings) {
  SolvedBatch solved = start_rows(inputs);
  if (inputs.loss.order.is_softmax()) {
    for (SolvedRow& row : solved.rows) row.dense = !row.ignored;
    solved.by_class = class_ranges(inputs, solved);
  } else {
    solve_sparse_rows(inputs, grad_embeddings, solved);
  }
  solve_dense_rows(inputs, solved);
  for (SolvedRow& row : solved.rows) {
    if (!row.target.present) continue;
    row.pull = target_pull(inputs.loss.smoothing, static_cast<double>(inputs.prototypes.classes()),
                           row.others);
    row.loss = row.smoothing;
    if (!(row.others > 0)) continue;
    row.loss +=
        row_loss(inputs.loss, row.target, row.solution, inputs.loss.scale * row.excess_cosine);
  }
  return solved;
}

}  // namespace alphamargin
