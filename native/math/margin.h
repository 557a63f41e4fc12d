#pragma once
// The four margins of one target, as a single family:
//
//   θ_y = s (ψ(c_y) − m3),  ψ(c) = cos(m1·arccos c + m2) continued monotonically beyond π
//   q_y ← q_y exp(−s m)                                                (Q-Margin)
//
// CosFace: m3.  ArcFace, A3M: m2.  Combined margin of ArcFace: m1, m2, m3.  Q-Margin: m.
// Sources: arXiv 1801.07698 (eq. 4), arXiv 1801.09414, arXiv 2511.13621, arXiv 2606.31664.

#include <cmath>

#include "math/alpha_divergence.h"
#include "math/host_device.h"

namespace alphamargin {

// arccos has no derivative at ±1: cosines are held this far inside before an angle is taken.
inline constexpr double kCosineGuard = 1e-7;
inline constexpr double kPi = 3.14159265358979323846;

struct Loss {
  DivergenceOrder order;
  double scale = 1;           // s
  double measure_margin = 0;  // m of Q-Margin
  double angle_factor = 1;    // m1
  double angular_margin = 0;  // m2, radians
  double cosine_margin = 0;   // m3
  bool detach_margin = false;

  // β = (α−1)s: cosines to the z of the threshold equation. s itself for softmax.
  double beta() const { return order.is_softmax() ? scale : order.excess * scale; }
  // log of the factor on the target's reference measure.
  double log_measure_factor() const { return -scale * measure_margin; }
  // Γ = exp(βm): the Q-Margin in units of d, never formed as exp(−s m), which underflows.
  double gamma() const { return std::exp(order.excess * scale * measure_margin); }
};

struct TargetCosine {
  double value;       // ψ(c_y) − m3
  double derivative;  // dψ/dc, or 1 when the margin is detached
};

// Continuation beyond an angle of π: (−1)^n cos a − 2n with n = ⌊a/π⌋, monotone and continuously
// differentiable, so that a harder target never costs less.
ALPHAMARGIN_HOST_DEVICE inline TargetCosine target_cosine(const Loss& loss, double cosine) {
  if (loss.angle_factor == 1 && loss.angular_margin == 0) {
    return {cosine - loss.cosine_margin, 1.0};
  }
  const double largest = 1 - kCosineGuard;
  const double guarded = cosine > largest ? largest : (cosine < -largest ? -largest : cosine);
  const double angle = std::acos(guarded);
  const double widened = loss.angle_factor * angle + loss.angular_margin;
  const double turns = std::floor(widened / kPi);
  const double sign = std::fmod(turns, 2.0) == 0 ? 1.0 : -1.0;
  const double value = sign * std::cos(widened) - 2 * turns;
  const double derivative =
      loss.detach_margin ? 1.0 : loss.angle_factor * sign * std::sin(widened) / std::sin(angle);
  return {value - loss.cosine_margin, derivative};
}

}  // namespace alphamargin
