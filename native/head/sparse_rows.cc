// Rows whose support is a small part of the classes: stream with rising bounds, rescore what is
// left from the float32 originals in float64, solve exactly.
//
// Why it is exact: a threshold solved on a subset of the classes never exceeds the true one, so a
// class at or below it is outside the support. The filter's cosines are off by at most
// certified_slack δ: thresholds are solved on c̃ − δ and classes dropped only if c̃ + δ is below.

#include <algorithm>
#include <cmath>

#include "head/candidate_stream.h"
#include "head/contributions.h"
#include "head/solved_rows.h"

namespace alphamargin {
namespace {

// Bounds on the way need few digits: any larger root is a safe bound.
constexpr double kBoundTolerance = 1e-3;

// Bytes a candidate costs until the backward pass is done: itself, its support entry, its place in
// the sort by class (twice: sorting is not in place).
constexpr std::size_t kBytesPerCandidate =
    sizeof(Candidate) + sizeof(SupportEntry) + 2 * sizeof(Contribution);

// Bound on c̃ below which (or at which) a class is certainly outside the support.
float filter_bound(const Loss& loss, const RowSolution& lower_solution, double slack) {
  // The solution is of c̃ − δ for the classes and exact for the target; −δ again for the class that
  // is compared. Rounded down, so that float32 cannot raise it.
  const double bound = support_bound(loss, lower_solution) - slack;
  if (bound < -2) return -INFINITY;  // below every cosine
  return std::nextafter(static_cast<float>(bound - 1e-7 * std::fabs(bound)), -INFINITY);
}

void finish_row(const HeadInputs& inputs, std::size_t row, CandidateList& list, RowSolver& solver,
                SolvedRow& solved, Buffer<SupportEntry>& entries) {
  entries.reserve(list.size());
  for (const Candidate& candidate : list) {
    const auto identity = static_cast<std::size_t>(candidate.identity);
    entries.push_back(
        {candidate.identity, exact_cosine(inputs.prototypes, inputs.batch, row, identity), 0});
  }
  solved.solution = solver.solve(
      inputs.loss, solved.target, entries.size(), entries.size(), inputs.reference != nullptr,
      [&](std::size_t j) { return entries[j].cosine; },
      [&](std::size_t j) { return inputs.measure(static_cast<std::size_t>(entries[j].identity)); });
  std::size_t kept = 0;
  visit_posterior(inputs.loss, solved.solution, [&](const auto& posterior_of) {
    for (const SupportEntry& entry : entries) {
      const double p =
          posterior_of(entry.cosine, inputs.measure(static_cast<std::size_t>(entry.identity)));
      if (!(p > 0)) continue;
      solved.others += p;
      solved.excess_cosine += p * (entry.cosine - solved.target.cosine);
      entries[kept] = {entry.identity, entry.cosine, p};
      ++kept;
    }
    if (solved.target.present) {
      solved.own = posterior_of.target(solved.target.cosine, solved.target.measure);
    }
  });
  entries.resize(kept);
  entries.shrink_to_fit();
  solved.support = static_cast<std::int64_t>(kept) + (solved.own > 0 ? 1 : 0);
}

}  // namespace

void solve_sparse_rows(const HeadInputs& inputs, SolvedBatch& solved) {
  const std::size_t rows = inputs.batch.rows;
  const double slack = certified_slack(inputs.batch.dim);
  const std::size_t row_limit = std::max<std::size_t>(
      16, inputs.scratch_budget / kBytesPerCandidate / std::max<std::size_t>(1, rows));

  std::vector<CandidateList> lists(rows, make_buffer<Candidate>(inputs.scratch));
  auto bounds = make_bounds(inputs.scratch, inputs.batch, -INFINITY);

  const auto tighten = [&](std::size_t row, CandidateList& list) {
    SolvedRow& state = solved.rows[row];
    RowSolver solver(inputs.scratch);
    RowSolution lower;
    try {
      lower = solver.solve(
          inputs.loss, state.target, list.size(), list.size(), inputs.reference != nullptr,
          [&](std::size_t j) { return static_cast<double>(list[j].cosine) - slack; },
          [&](std::size_t j) { return inputs.measure(static_cast<std::size_t>(list[j].identity)); },
          kBoundTolerance);
    } catch (const Failure&) {
      // The measures seen so far leave float64; later classes may not. finish_row decides.
      lower = {0, INFINITY, INFINITY, 0};
    }
    const float bound = filter_bound(inputs.loss, lower, slack);
    std::erase_if(list, [bound](const Candidate& kept) { return !(kept.cosine > bound); });
    if (list.size() > row_limit) {
      // Streaming again costs less than the memory; its cosines are float32 (dense_rows.h).
      state.dense = true;
      list = make_buffer<Candidate>(inputs.scratch);
      return static_cast<float>(INFINITY);
    }
    return bound;
  };

  const StreamStats stats =
      stream_candidates(inputs.runtime, inputs.scratch, inputs.prototypes, inputs.batch,
                        inputs.labels, bounds, lists, inputs.cancellation, tighten);
  solved.survivors = stats.survivors;

  inputs.runtime.pool.run(rows, [&](std::size_t row) {
    if (solved.rows[row].dense) return;
    RowSolver solver(inputs.scratch);
    finish_row(inputs, row, lists[row], solver, solved.rows[row], solved.entries[row]);
    lists[row] = make_buffer<Candidate>(inputs.scratch);
  });
  for (const SolvedRow& row : solved.rows) solved.overflow_rows += row.dense ? 1 : 0;
}

SolvedBatch start_rows(const HeadInputs& inputs) {
  SolvedBatch solved;
  solved.rows.resize(inputs.batch.rows);
  solved.entries.assign(inputs.batch.rows, make_buffer<SupportEntry>(inputs.scratch));
  if (inputs.labels == nullptr) return solved;
  for (std::size_t row = 0; row < inputs.batch.rows; ++row) {
    check_label(row, inputs.labels[row], inputs.prototypes.identities);
  }
  inputs.runtime.pool.run(inputs.batch.rows, [&](std::size_t row) {
    SolvedRow& state = solved.rows[row];
    state.label = inputs.labels[row];
    const auto label = static_cast<std::size_t>(state.label);
    state.label_cosine = exact_cosine(inputs.prototypes, inputs.batch, row, label);
    const TargetCosine margined = target_cosine(inputs.loss, state.label_cosine);
    state.target = {true, margined.value, margined.derivative, inputs.measure(label)};
  });
  return solved;
}

SolvedBatch solve_rows(const HeadInputs& inputs) {
  SolvedBatch solved = start_rows(inputs);
  if (inputs.loss.order.is_softmax()) {
    for (SolvedRow& row : solved.rows) row.dense = true;
  } else {
    solve_sparse_rows(inputs, solved);
  }
  solve_dense_rows(inputs, solved);
  for (SolvedRow& row : solved.rows) {
    if (!row.target.present || !(row.others > 0)) continue;
    row.loss =
        row_loss(inputs.loss, row.target, row.solution, inputs.loss.scale * row.excess_cosine);
  }
  return solved;
}

}  // namespace alphamargin
