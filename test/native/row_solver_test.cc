// The root of a row is the same number wherever the search for it begins and whatever classes
// outside the support are looked at on the way (math/threshold.h, least_root).

#include "cpu/row_solver.h"

#include "kernel_sets_cases.h"

namespace alphamargin::test {
namespace {

struct Row {
  std::vector<double> cosines;
  std::vector<double> measures;
};

RowSolution solve(const Loss& loss, const RowTarget& target, const Row& row, bool has_measure,
                  double known) {
  MemoryAccount account;
  RowSolver solver(account);
  return solver.solve(
      loss, target, row.cosines.size(), row.cosines.size(), has_measure,
      [&](std::size_t j) { return row.cosines[j]; }, [&](std::size_t j) { return row.measures[j]; },
      0, known);
}

void expect_same(const std::string& where, const RowSolution& got, const RowSolution& expected) {
  expect_bits(where + ", reference", got.reference, expected.reference);
  expect_bits(where + ", lower", got.lower, expected.lower);
  expect_bits(where + ", upper", got.upper, expected.upper);
  expect_bits(where + ", mix", got.mix, expected.mix);
}

void test_root(std::size_t seed, double alpha, bool has_target, bool has_measure) {
  Source source(seed);
  Loss loss;
  loss.order = DivergenceOrder::of(alpha);
  loss.scale = 1 + 31 * std::fabs(source.number());
  loss.measure_margin = 0.2 * static_cast<double>(source.below(2));
  RowTarget target;
  if (has_target) target = margined_target(loss, source.number(), 1);
  Row row;
  const std::size_t classes = 1 + source.below(400);
  for (std::size_t j = 0; j < classes; ++j) {
    row.cosines.push_back(0.3 * source.number());
    row.measures.push_back(0.5 + std::fabs(source.number()));
  }
  const auto at = [&](double known, const Row& of) {
    return solve(loss, target, of, has_measure, known);
  };
  const RowSolution root = at(-INFINITY, row);
  const double threshold = support_bound(loss, root);
  const std::string where =
      "alpha " + text(alpha) + ", " + sized("seed", seed) + (has_measure ? ", measures" : "");
  for (const double share : {1.0, 0.5, 0.1, 1e-3, 1e-6}) {
    expect_same(where + ", known bound", at(threshold - share, row), root);
  }
  Row support;
  for (std::size_t j = 0; j < row.cosines.size(); ++j) {
    if (row.cosines[j] < threshold - 1e-9) continue;
    support.cosines.push_back(row.cosines[j]);
    support.measures.push_back(row.measures[j]);
  }
  expect_same(where + ", support alone", at(-INFINITY, support), root);
}

}  // namespace

// Returns how many rows were solved alike; throws at the first that was not.
std::size_t test_row_solver() {
  std::size_t rows = 0;
  for (const double alpha : {1.1, 1.2, 1.25, 1.37, 1.5, 1.9, 2.0, 2.5, 3.0, 4.0}) {
    for (std::size_t seed = 0; seed < 400; ++seed) {
      test_root(seed, alpha, seed % 2 == 0, seed % 4 < 2);
      ++rows;
    }
  }
  return rows;
}

}  // namespace alphamargin::test
