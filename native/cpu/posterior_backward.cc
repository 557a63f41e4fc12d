#include <cmath>

#include "cpu/posterior.h"
#include "cpu/row_pieces.h"
#include "math/alpha_divergence.h"

namespace alphamargin {
namespace {

// log u_j = (α−1) log q_j + (2−α) log p_j on the support. For α > 2 u grows as p → 0, beyond
// float64 even where the gradient does not, so weights are formed relative to the row's largest.
struct LogWeight {
  DivergenceOrder order;
  const float* reference;
  double operator()(std::size_t j, double p) const {
    if (!(p > 0)) return -INFINITY;
    const double measure = reference == nullptr || order.is_softmax()
                               ? 0.0
                               : order.excess * std::log(static_cast<double>(reference[j]));
    return measure + (2 - order.alpha) * std::log(p);
  }
};

}  // namespace

void posterior_backward(Runtime& runtime, const RealMatrix& grad_posterior,
                        const RealMatrix& posterior, double alpha, const float* reference,
                        float* out, const Cancellation& cancellation) {
  const std::size_t classes = posterior.columns();
  const LogWeight log_weight{DivergenceOrder::of(alpha), reference};
  for_row_pieces(runtime, posterior.rows(), classes, [&](std::size_t first, std::size_t last) {
    auto scratch = make_buffer<float>(runtime.memory, posterior.is_half() ? classes : 0);
    auto grad_scratch = make_buffer<float>(runtime.memory, grad_posterior.is_half() ? classes : 0);
    auto weights = make_buffer<double>(runtime.memory, classes);
    for (std::size_t row = first; row < last; ++row) {
      cancellation.check();
      const float* p = posterior.row(row, scratch.data());
      const float* v = grad_posterior.row(row, grad_scratch.data());
      check_finite("posterior", row, p, classes);
      check_finite("gradPosterior", row, v, classes);
      std::size_t heaviest = 0;
      for (std::size_t j = 0; j < classes; ++j) {
        weights[j] = log_weight(j, p[j]);
        if (weights[j] > weights[heaviest]) heaviest = j;
      }
      const double largest = weights[heaviest];
      double total = 0;
      double product = 0;
      for (std::size_t j = 0; j < classes; ++j) {
        if (weights[j] == -INFINITY) continue;
        const double relative = std::exp(weights[j] - largest);
        total += relative;
        product += relative * v[j];
      }
      const double mean = total > 0 ? product / total : 0;
      // The gradient sums to 0: the heaviest entry, whose own difference cancels, is minus the
      // others.
      float* target = out + row * classes;
      double others = 0;
      for (std::size_t j = 0; j < classes; ++j) {
        target[j] = 0;
        if (weights[j] == -INFINITY || j == heaviest) continue;
        const double gradient = std::exp(weights[j]) * (v[j] - mean);
        target[j] = static_cast<float>(gradient);
        others += gradient;
      }
      if (classes > 0 && total > 0 && others != 0) target[heaviest] = static_cast<float>(-others);
    }
  });
}

}  // namespace alphamargin
