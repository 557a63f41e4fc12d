#pragma once
// What the sparse and the dense backward pass share: coefficients g_ij = ∂ℓ/∂c_ij of the mean loss,
// and the last step of ∂x.

#include "head/solved_rows.h"

namespace alphamargin {

// s/B, B the rows that count: coefficient of a class other than the target, per unit of posterior.
inline double class_factor(const HeadInputs& inputs) {
  return inputs.loss.scale / static_cast<double>(inputs.counted);
}

inline double target_coefficient(const HeadInputs& inputs, const SolvedRow& row) {
  return -class_factor(inputs) * row.target.derivative * row.pull;
}

// sums = Σ g ŵ and projection = Σ g c to ∂x.
inline void write_embedding_gradient(const HeadInputs& inputs, std::size_t row, const double* sums,
                                     double projection, float* out) {
  const double inverse = 1 / inputs.batch.norms[row];
  const float* values = inputs.batch.row(row);
  for (std::size_t k = 0; k < inputs.batch.dim; ++k) {
    out[k] = static_cast<float>((sums[k] - projection * values[k] * inverse) * inverse);
  }
}

}  // namespace alphamargin
