#pragma once
// α-divergence margin losses on rows of cosines, forward and backward.
//
//   ℓ = softmax_f(θ; q) + D_f(e_y : q) − θ_y,   ∂ℓ/∂θ = p − e_y
//   ∂ℓ/∂c_j = s p_j,   ∂ℓ/∂c_y = s (p_y − 1) dψ/dc
//
// Rows labelled kIgnoredLabel are not read; their outputs are 0.
//
// Shapes: cosines [B, C] row-major, labels [B], reference [C] or nullptr, outputs [B].
// Accumulation: float64, classes ascending; 1 − p_y is summed from the other classes, so that it
// does not cancel and a row at zero loss has exactly zero gradient.
// Traffic: a row is checked, solved and summed while it is in cache; from memory the cosines are
// read once per pass, and the gradient is written once.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "common/failure.h"
#include "common/real_matrix.h"
#include "common/runtime.h"
#include "cpu/row_solver.h"

namespace alphamargin {

struct LossOutputs {
  float* loss;
  float* threshold;
  std::int32_t* support_size;
  std::uint8_t* target_active;
  RowSolution* solutions;  // what the backward pass needs of a row
  float* margin_gradient;  // ∂ℓ/∂m of each row, or nullptr
};

// Beyond ±1 by more than the rounding of float16 a number is no cosine; most likely a logit s·c.
inline constexpr float kLargestCosine = 1.002f;

inline void check_cosines(std::size_t row, const float* values, std::size_t count) {
  float largest = 0;
  for (std::size_t j = 0; j < count; ++j) largest = std::max(largest, std::fabs(values[j]));
  if (largest <= kLargestCosine) return;
  throw Failure(FailureCode::kInvalidArgument,
                "expected cosines row " + std::to_string(row) +
                    " to lie in [-1, 1] (cosines, not logits) but received a magnitude of " +
                    shown(largest));
}

void loss_forward(Runtime& runtime, const RealMatrix& cosines, const std::int32_t* labels,
                  const Loss& loss, const float* reference, const LossOutputs& outputs,
                  const Cancellation& cancellation);

// grad_loss [B], or nullptr for 1/B each (mean reduction), B the number of rows that count.
void loss_backward(Runtime& runtime, const RealMatrix& cosines, const std::int32_t* labels,
                   const Loss& loss, const float* reference, const RowSolution* solutions,
                   const float* grad_loss, float* grad_cosines, const Cancellation& cancellation);

}  // namespace alphamargin
