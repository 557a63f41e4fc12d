#include "head/state_checks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "cpu/embeddings.h"
#include "cpu/kernel_set.h"

namespace alphamargin {

std::vector<double> checked_prototypes(std::size_t first, std::size_t count, std::size_t dim,
                                       const float* values) {
  std::vector<double> norms(count);
  for (std::size_t i = 0; i < count; ++i) {
    norms[i] = checked_norm("prototypes", first + i, values + i * dim, dim);
  }
  return norms;
}

void check_optimizer_rows(StateArray array, std::size_t first, std::size_t count, std::size_t width,
                          const float* values) {
  for (std::size_t i = 0; i < count; ++i) {
    check_finite(array == StateArray::kMomentum ? "momentum" : "accumulator", first + i,
                 values + i * width, width);
    if (array == StateArray::kAccumulator && values[i] < 0) {
      throw Failure(FailureCode::kInvalidArgument,
                    "expected accumulator row " + std::to_string(first + i) +
                        " to be >= 0 but received " + shown(values[i]));
    }
  }
}

void check_replacements(const std::int32_t* identities, std::size_t count, const float* values,
                        std::size_t classes, std::size_t dim) {
  for (std::size_t i = 0; i < count; ++i) {
    checked_norm("prototypes", i, values + i * dim, dim);
    if (identities != nullptr) check_label(i, identities[i], classes);
  }
}

double largest_norm(std::size_t count, std::size_t dim, const float* values) {
  double largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const float* row = values + i * dim;
    largest = std::max(largest, std::sqrt(kernel_set().dot(row, row, dim)));
  }
  return largest;
}

double check_update(const Optimizer& optimizer, double largest_coefficient, const NormRange& norms,
                    std::size_t dim, double momentum_bound) {
  // ‖∂w‖ ≤ Σ|g|/‖w‖ because ‖x̂ − cŵ‖ ≤ 1.
  const double gradient =
      largest_coefficient / norms.smallest + optimizer.weight_decay * norms.largest;
  const double step =
      optimizer.kind == OptimizerKind::kAdagrad
          ? optimizer.learning_rate * std::sqrt(static_cast<double>(dim))
          : optimizer.learning_rate * (gradient + optimizer.momentum * momentum_bound);
  // A momentum or accumulator beyond float32 would be as fatal as such a prototype.
  const double state = optimizer.kind == OptimizerKind::kAdagrad
                           ? gradient * gradient
                           : gradient + optimizer.momentum * momentum_bound;
  const bool is_single = optimizer.learning_rate <= std::numeric_limits<float>::max();
  if (is_single && step <= kLargestNorm / 2 && state <= kLargestNorm) return state;
  throw Failure(FailureCode::kInvalidArgument,
                "expected learningRate to keep prototypes within float32 but it is " +
                    shown(optimizer.learning_rate) + ", for gradients of norm up to " +
                    shown(gradient));
}

}  // namespace alphamargin
