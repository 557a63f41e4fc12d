#pragma once
// Label smoothing of softmax losses, as PyTorch defines it: the target is (1−ε)·e_y + ε/C. With
// θ' = θ + log q, the margin of the target in both,
//
//   ℓ = τ − (1−ε)·θ'_y − (ε/C)·Σ_j θ'_j,   ∂ℓ/∂θ_j = p_j − ε/C − (1−ε)·1[j = y]
//
// Source: Szegedy et al. 2016, arXiv 1512.00567.

#include "math/host_device.h"

namespace alphamargin {

// What smoothing adds to the cross-entropy τ − θ'_y: ε·(θ'_y − mean of θ'), from Σ_{j≠y} θ'_j.
ALPHAMARGIN_HOST_DEVICE inline double smoothing_loss(double smoothing, double classes,
                                                     double target_logit, double other_logits) {
  // + 0: a single class has a loss of 0, not of −0.
  return smoothing / classes * ((classes - 1) * target_logit - other_logits) + 0.0;
}

// −∂ℓ/∂θ_y, from 1 − p_y summed over the other classes.
ALPHAMARGIN_HOST_DEVICE inline double target_pull(double smoothing, double classes, double others) {
  return others - smoothing * ((classes - 1) / classes);
}

}  // namespace alphamargin
