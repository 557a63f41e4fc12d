#pragma once
// The four margins of one target, as a single family:
//
//   θ_y = s (ψ(c_y) − m3),  ψ(c) = cos(m1·arccos c + m2) continued monotonically beyond π
//   q_y ← q_y exp(−s m)                                                (Q-Margin)
//
// CosFace: m3.  ArcFace, A3M: m2.  Combined margin of ArcFace: m1, m2, m3.  Q-Margin: m.
// Sources: arXiv 1801.07698 (eq. 4), arXiv 1801.09414, arXiv 2511.13621, arXiv 2606.31664.

#include <cmath>
#include <cstddef>

#include "math/alpha_divergence.h"
#include "math/host_device.h"

namespace alphamargin {

// arccos has no derivative at ±1: cosines are held this far inside before an angle is taken.
inline constexpr double kCosineGuard = 1e-7;
inline constexpr double kPi = 3.14159265358979323846;

// Which margin of a loss single rows may replace by their own.
enum class MarginPlace { kNone, kMeasure, kAngular, kCosine };

struct Loss {
  DivergenceOrder order;
  double scale = 1;           // s
  double measure_margin = 0;  // m of Q-Margin
  double angle_factor = 1;    // m1
  double angular_margin = 0;  // m2, radians
  double cosine_margin = 0;   // m3
  bool detach_margin = false;
  double smoothing = 0;  // ε of label smoothing; softmax only
  // Inter-top-K penalty (cpu/top_classes.h); 0 and 0 for none.
  std::size_t top_count = 0;
  double top_penalty = 0;
  MarginPlace margin_place = MarginPlace::kNone;
  const float* row_margins = nullptr;  // [B] in place of the margin at margin_place, or nullptr

  // The loss of a row: with that row's own margin, if rows have any.
  ALPHAMARGIN_HOST_DEVICE Loss of_row(std::size_t row) const {
    Loss own = *this;
    if (row_margins == nullptr) return own;
    const double margin = row_margins[row];
    if (margin_place == MarginPlace::kMeasure) own.measure_margin = margin;
    if (margin_place == MarginPlace::kAngular) own.angular_margin = margin;
    if (margin_place == MarginPlace::kCosine) own.cosine_margin = margin;
    return own;
  }

  // β = (α−1)s: cosines to the z of the threshold equation. s itself for softmax.
  ALPHAMARGIN_HOST_DEVICE double beta() const {
    return order.is_softmax() ? scale : order.excess * scale;
  }
  // log of the factor on the target's reference measure.
  ALPHAMARGIN_HOST_DEVICE double log_measure_factor() const { return -scale * measure_margin; }
  // Γ = exp(βm): the Q-Margin in units of d, never formed as exp(−s m), which underflows.
  ALPHAMARGIN_HOST_DEVICE double gamma() const {
    return std::exp(order.excess * scale * measure_margin);
  }
};

// The target of a row, after the margin. `present` is false for posteriors without a label.
struct RowTarget {
  bool present = false;
  double cosine = 0;      // ψ(c_y) − m3
  double derivative = 1;  // of it with respect to c_y
  double measure = 1;     // q_y before the margin
  double log_factor = 0;  // −s m: log of the margin's factor on it
  double gamma = 1;       // Γ
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

// The target of a row with cosine c_y and reference measure q_y.
inline RowTarget margined_target(const Loss& loss, double cosine, double measure) {
  const TargetCosine margined = target_cosine(loss, cosine);
  return {true,        margined.value, margined.derivative, measure, loss.log_measure_factor(),
          loss.gamma()};
}

// ∂ℓ/∂m of a row's loss, m the margin at margin_place, c_y the cosine before it, q_y the measure
// before it, others = 1 − p_y and pull = −∂ℓ/∂θ_y (the same, unless labels are smoothed):
//
//   m subtracted from the cosine:  s·pull
//   m added to the angle:          s·pull·sin(m1·φ + m), mirrored like ψ beyond π
//   Q-Margin:                      (s/α)·q_y^{1−α}·Γ·(1 − p_y^α)
//
// The last one because ℓ depends on the target's measure through q_y^{1−α}(1 − p_y^α)/(α(α−1))
// alone (the posterior is where ℓ is stationary). The angle's is the true derivative even when
// detach_margin keeps it out of ∂ℓ/∂c.
ALPHAMARGIN_HOST_DEVICE inline double margin_gradient(const Loss& loss, double cosine,
                                                      double measure, double others, double pull) {
  if (loss.margin_place == MarginPlace::kNone) return 0;
  if (loss.margin_place == MarginPlace::kAngular) {
    const double largest = 1 - kCosineGuard;
    const double guarded = cosine > largest ? largest : (cosine < -largest ? -largest : cosine);
    const double widened = loss.angle_factor * std::acos(guarded) + loss.angular_margin;
    const double sign = std::fmod(std::floor(widened / kPi), 2.0) == 0 ? 1.0 : -1.0;
    return loss.scale * pull * sign * std::sin(widened);
  }
  if (loss.margin_place == MarginPlace::kCosine || loss.order.is_softmax()) {
    return loss.scale * pull;
  }
  // 1 − p_y^α without cancellation.
  const double alpha = loss.order.alpha;
  const double missing = others < 1 ? -std::expm1(alpha * std::log1p(-others)) : 1.0;
  const double weight =
      std::exp(loss.order.excess * (loss.scale * loss.measure_margin - std::log(measure)));
  return loss.scale / alpha * weight * missing;
}

}  // namespace alphamargin
