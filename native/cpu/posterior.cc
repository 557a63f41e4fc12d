#include "cpu/posterior.h"

#include <limits>
#include <vector>

#include "cpu/row_pieces.h"
#include "cpu/row_solver.h"

namespace alphamargin {
namespace {

// Logits are cosines of scale 1 without a target.
Loss posterior_loss(double alpha) {
  Loss loss;
  loss.order = DivergenceOrder::of(alpha);
  return loss;
}

// Solves every row and hands (row, logits, posterior function) to `write`.
template <class Write>
void for_solved_rows(Runtime& runtime, const RealMatrix& logits, double alpha,
                     const float* reference, const Cancellation& cancellation, const Write& write) {
  const Loss loss = posterior_loss(alpha);
  const std::size_t classes = logits.columns();
  for_row_pieces(runtime, logits.rows(), classes, [&](std::size_t first, std::size_t last) {
    RowSolver solver(runtime.memory);
    auto scratch = make_buffer<float>(runtime.memory, logits.is_half() ? classes : 0);
    for (std::size_t row = first; row < last; ++row) {
      cancellation.check();
      const float* values = logits.row(row, scratch.data());
      check_finite("logits", row, values, classes);
      const RowSolution solution = solver.solve(
          loss, RowTarget{}, classes, classes, reference != nullptr,
          [values](std::size_t j) { return static_cast<double>(values[j]); },
          [reference](std::size_t j) { return static_cast<double>(reference[j]); });
      visit_posterior(loss, solution,
                      [&](const auto& posterior_of) { write(row, values, posterior_of); });
    }
  });
}

}  // namespace

void posterior(Runtime& runtime, const RealMatrix& logits, double alpha, const float* reference,
               float* out, const Cancellation& cancellation) {
  const std::size_t classes = logits.columns();
  for_solved_rows(runtime, logits, alpha, reference, cancellation,
                  [&](std::size_t row, const float* values, const auto& posterior_of) {
                    float* target = out + row * classes;
                    for (std::size_t j = 0; j < classes; ++j) {
                      target[j] = static_cast<float>(
                          posterior_of(values[j], reference == nullptr ? 1.0 : reference[j]));
                    }
                  });
}

SparseRows sparse_posterior(Runtime& runtime, const RealMatrix& logits, double alpha,
                            const float* reference, const Cancellation& cancellation) {
  std::vector<Buffer<std::int32_t>> columns(logits.rows(),
                                            make_buffer<std::int32_t>(runtime.memory));
  std::vector<Buffer<float>> values(logits.rows(), make_buffer<float>(runtime.memory));
  const std::size_t classes = logits.columns();
  for_solved_rows(runtime, logits, alpha, reference, cancellation,
                  [&](std::size_t row, const float* row_logits, const auto& posterior_of) {
                    for (std::size_t j = 0; j < classes; ++j) {
                      const auto p = static_cast<float>(
                          posterior_of(row_logits[j], reference == nullptr ? 1.0 : reference[j]));
                      if (!(p > 0)) continue;
                      columns[row].push_back(static_cast<std::int32_t>(j));
                      values[row].push_back(p);
                    }
                  });
  return join_rows(runtime.memory, columns, values);
}

SparseRows join_rows(MemoryAccount& account, const std::vector<Buffer<std::int32_t>>& columns,
                     const std::vector<Buffer<float>>& values) {
  SparseRows rows{make_buffer<std::int32_t>(account, columns.size() + 1),
                  make_buffer<std::int32_t>(account), make_buffer<float>(account)};
  std::size_t entries = 0;
  rows.row_offsets[0] = 0;
  for (std::size_t row = 0; row < columns.size(); ++row) {
    entries += columns[row].size();
    if (entries > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
      throw too_many_entries();
    }
    rows.row_offsets[row + 1] = static_cast<std::int32_t>(entries);
  }
  rows.columns.reserve(entries);
  rows.values.reserve(entries);
  for (std::size_t row = 0; row < columns.size(); ++row) {
    rows.columns.insert(rows.columns.end(), columns[row].begin(), columns[row].end());
    rows.values.insert(rows.values.end(), values[row].begin(), values[row].end());
  }
  return rows;
}

}  // namespace alphamargin
