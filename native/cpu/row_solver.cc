#include "cpu/row_solver.h"

namespace alphamargin {

double row_threshold(const Loss& loss, const RowSolution& solution) {
  const double reference_logit = loss.scale * solution.reference;
  if (loss.order.is_softmax()) return reference_logit + solution.lower;
  return reference_logit + (1 - solution.upper) / loss.order.excess;
}

double row_loss(const Loss& loss, const RowTarget& target, const RowSolution& solution,
                double excess_logit) {
  const double threshold_above_target =
      loss.scale * (solution.reference - target.cosine) +
      (loss.order.is_softmax() ? solution.lower : (1 - solution.upper) / loss.order.excess);
  const double own = deformed(loss.order, -target.log_factor - std::log(target.measure));
  const double value =
      excess_logit + (own - excess_logit + threshold_above_target) / loss.order.alpha;
  return value > 0 ? value : 0;
}

}  // namespace alphamargin
