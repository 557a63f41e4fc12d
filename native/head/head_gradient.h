#pragma once
// The backward pass of the head: ∂embeddings, and the update of the touched prototypes.
//
//   ∂x_i = (1/‖x_i‖) Σ_j g_ij (ŵ_j − c_ij x̂_i),   ∂w_j = (1/‖w_j‖) Σ_i g_ij (x̂_i − c_ij ŵ_j)
//   g_ij = s p_ij / B,  g_iy = −s ψ'(c_y) Σ_{j≠y} p_ij / B      (mean over the batch)
//
// Only classes in a support, or labels of rows with a loss, have g ≠ 0; every other prototype keeps
// its bits. Sums over rows run in ascending order in float64; sums over classes too, within a range
// of classes and then over the ranges, which depend on C alone.

#include "head/prototype_state.h"
#include "head/solved_rows.h"

namespace alphamargin {

// Largest Σ_i |g_ij| any class can have, for PrototypeState::check_update.
double largest_coefficient(const HeadInputs& inputs, const SolvedBatch& solved);

struct BackwardStats {
  std::size_t touched = 0;      // prototypes with a non-zero coefficient
  std::size_t moved_bytes = 0;  // of prototypes, shadow and optimiser state, read and written
};

// Writes grad_embeddings [B, D] (when not nullptr) and, with a state, updates it. Labels, numbers
// and the size of the update were checked before; scratch is taken before the first row is written
// (dense rows: by the end of the first chunk).
BackwardStats backward(const HeadInputs& inputs, const SolvedBatch& solved, float* grad_embeddings,
                       PrototypeState* state, const Optimizer& optimizer);

}  // namespace alphamargin
