#include "cpu/loss.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "cpu/row_pieces.h"
#include "cpu/top_classes.h"
#include "math/label_smoothing.h"

namespace alphamargin {
namespace {

// A checked row: its cosines as float32, its label and its target after the margin.
struct LossRow {
  const float* cosines;
  std::size_t label;
  RowTarget target;
};

// Calls visitor(cosines) with what the logits are made of: the row's cosines or, in float64, those
// with the inter-top-K penalty.
template <class Visitor>
void visit_cosines(const Loss& loss, const LossRow& row, std::size_t classes,
                   Buffer<double>& penalised, const Visitor& visitor) {
  if (loss.top_penalty == 0) {
    visitor(row.cosines);
    return;
  }
  penalised.assign(row.cosines, row.cosines + classes);
  for (const std::uint32_t j : top_places(classes, row.label, loss.top_count,
                                          [&](std::size_t j) { return row.cosines[j]; })) {
    penalised[j] += loss.top_penalty;
  }
  visitor(static_cast<const double*>(penalised.data()));
}

// What label smoothing adds to a row's loss.
template <class Number>
double added_by_smoothing(const Loss& loss, const LossRow& row, const Number* cosines,
                          std::size_t classes, const float* reference) {
  if (loss.smoothing == 0) return 0;
  double logits = 0;
  for (std::size_t j = 0; j < classes; ++j) {
    if (j == row.label) continue;
    logits += loss.scale * cosines[j] + (reference == nullptr ? 0.0 : std::log(reference[j]));
  }
  return smoothing_loss(loss.smoothing, static_cast<double>(classes),
                        target_logit(loss, row.target), logits);
}

LossRow read_row(const RealMatrix& cosines, std::size_t row, std::int32_t label, const Loss& loss,
                 const float* reference, Buffer<float>& scratch) {
  const float* values = cosines.row(row, scratch.data());
  check_finite("cosines", row, values, cosines.columns());
  check_cosines(row, values, cosines.columns());
  const auto index = static_cast<std::size_t>(label);
  const double measure = reference == nullptr ? 1.0 : static_cast<double>(reference[index]);
  return {values, index, margined_target(loss.of_row(row), values[index], measure)};
}

}  // namespace

void loss_forward(Runtime& runtime, const RealMatrix& cosines, const std::int32_t* labels,
                  const Loss& loss, const float* reference, const LossOutputs& outputs,
                  const Cancellation& cancellation) {
  const std::size_t classes = cosines.columns();
  count_rows(labels, cosines.rows(), classes);
  for_row_pieces(runtime, cosines.rows(), classes, [&](std::size_t first, std::size_t last) {
    RowSolver solver(runtime.memory);
    auto penalised = make_buffer<double>(runtime.memory);
    auto scratch = make_buffer<float>(runtime.memory, cosines.is_half() ? classes : 0);
    for (std::size_t row = first; row < last; ++row) {
      cancellation.check();
      if (labels[row] == kIgnoredLabel) {
        outputs.loss[row] = outputs.threshold[row] = 0;
        outputs.support_size[row] = 0;
        outputs.target_active[row] = 0;
        outputs.solutions[row] = {};
        if (outputs.margin_gradient != nullptr) outputs.margin_gradient[row] = 0;
        continue;
      }
      const LossRow input = read_row(cosines, row, labels[row], loss, reference, scratch);
      const std::size_t label = input.label;
      const RowTarget& target = input.target;
      visit_cosines(loss, input, classes, penalised, [&](const auto* values) {
        const RowSolution solution = solver.solve(
            loss, target, classes, label, reference != nullptr,
            [values](std::size_t j) { return static_cast<double>(values[j]); },
            [reference](std::size_t j) { return static_cast<double>(reference[j]); });

        double others = 0;
        double excess_cosine = 0;
        std::int32_t support = 0;
        double own = 0;
        visit_posterior(loss, solution, [&](const auto& posterior_of) {
          for (std::size_t j = 0; j < classes; ++j) {
            if (j == label) continue;
            const double p = posterior_of(values[j], reference == nullptr ? 1.0 : reference[j]);
            if (!(p > 0)) continue;
            others += p;
            excess_cosine += p * (values[j] - target.cosine);
            ++support;
          }
          own = posterior_of.target(target);
        });
        if (own > 0) ++support;
        outputs.loss[row] = static_cast<float>(
            (others > 0 ? row_loss(loss, target, solution, loss.scale * excess_cosine) : 0.0) +
            added_by_smoothing(loss, input, values, classes, reference));
        outputs.threshold[row] = static_cast<float>(row_threshold(loss, solution));
        outputs.support_size[row] = support;
        outputs.target_active[row] = own > 0 ? 1 : 0;
        outputs.solutions[row] = solution;
        if (outputs.margin_gradient == nullptr) return;
        outputs.margin_gradient[row] = static_cast<float>(
            margin_gradient(loss.of_row(row), input.cosines[label], target.measure, others,
                            target_pull(loss.smoothing, static_cast<double>(classes), others)));
      });
    }
  });
}

void loss_backward(Runtime& runtime, const RealMatrix& cosines, const std::int32_t* labels,
                   const Loss& loss, const float* reference, const RowSolution* solutions,
                   const float* grad_loss, float* grad_cosines, const Cancellation& cancellation) {
  const std::size_t classes = cosines.columns();
  const auto counted = static_cast<double>(count_rows(labels, cosines.rows(), classes));
  const double uniform = loss.smoothing / static_cast<double>(classes);
  for_row_pieces(runtime, cosines.rows(), classes, [&](std::size_t first, std::size_t last) {
    auto penalised = make_buffer<double>(runtime.memory);
    auto scratch = make_buffer<float>(runtime.memory, cosines.is_half() ? classes : 0);
    for (std::size_t row = first; row < last; ++row) {
      cancellation.check();
      float* gradient = grad_cosines + row * classes;
      if (labels[row] == kIgnoredLabel) {
        std::fill_n(gradient, classes, 0.0f);
        continue;
      }
      const LossRow input = read_row(cosines, row, labels[row], loss, reference, scratch);
      const std::size_t label = input.label;
      const RowTarget& target = input.target;
      const double upstream =
          grad_loss == nullptr ? 1.0 / counted : static_cast<double>(grad_loss[row]);
      const double factor = loss.scale * upstream;
      double others = 0;
      visit_cosines(loss, input, classes, penalised, [&](const auto* values) {
        visit_posterior(loss, solutions[row], [&](const auto& posterior_of) {
          for (std::size_t j = 0; j < classes; ++j) {
            if (j == label) continue;
            const double p = posterior_of(values[j], reference == nullptr ? 1.0 : reference[j]);
            gradient[j] = static_cast<float>(factor * (p - uniform));
            others += p;
          }
        });
      });
      gradient[label] =
          static_cast<float>(-factor * target.derivative *
                             target_pull(loss.smoothing, static_cast<double>(classes), others));
    }
  });
}

}  // namespace alphamargin
