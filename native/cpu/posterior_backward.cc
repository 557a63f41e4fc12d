#include <cmath>

#include "cpu/posterior.h"
#include "cpu/row_pieces.h"
#include "math/alpha_divergence.h"

namespace alphamargin {
namespace {

// u_j = q_j^{α−1} p_j^{2−α}; p itself for softmax.
struct Weight {
  DivergenceOrder order;
  const float* reference;
  double operator()(std::size_t j, double p) const {
    if (!(p > 0)) return 0;
    if (order.is_softmax()) return p;
    const double measure =
        reference == nullptr ? 1.0 : std::pow(static_cast<double>(reference[j]), order.excess);
    if (order.alpha == 2) return measure;
    if (order.alpha == 1.5) return measure * std::sqrt(p);
    return measure * std::pow(p, 2 - order.alpha);
  }
};

}  // namespace

void posterior_backward(Runtime& runtime, const RealMatrix& grad_posterior,
                        const RealMatrix& posterior, double alpha, const float* reference,
                        float* out, const Cancellation& cancellation) {
  const std::size_t classes = posterior.columns();
  const Weight weight{DivergenceOrder::of(alpha), reference};
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
      double total = 0;
      double product = 0;
      for (std::size_t j = 0; j < classes; ++j) {
        weights[j] = weight(j, p[j]);
        total += weights[j];
        product += weights[j] * v[j];
      }
      const double mean = total > 0 ? product / total : 0;
      float* target = out + row * classes;
      for (std::size_t j = 0; j < classes; ++j) {
        target[j] = static_cast<float>(weights[j] == 0 ? 0.0 : weights[j] * (v[j] - mean));
      }
    }
  });
}

}  // namespace alphamargin
