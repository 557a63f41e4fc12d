#pragma once
// The α-divergence posterior of one class, and the powers it is made of.
//
//   p_j = q_j [z_j − t]_+^k,   k = 1/(α−1),   z = (α−1)θ,   t = (α−1)τ − 1
//   α = 1:  p_j = q_j exp(θ_j − τ)
//
// Source: Roulet et al. 2025 (arXiv 2501.18537); Peters, Niculae, Martins 2019 (entmax).

#include <cmath>

#include "math/host_device.h"

namespace alphamargin {

// Divergence orders closer to 1 than this are softmax: at the threshold the two posteriors differ
// by (α−1)(θ−τ)²/2, which is 5e-8 relative for the classes that matter, while the power form would
// lose k·2^-53 of its digits.
inline constexpr double kSoftmaxBelow = 1e-9;

// Integer exponents up to this are computed by multiplication.
inline constexpr int kLargestIntegerExponent = 64;

// The scalars that depend on α alone, always in float64 and always computed on the host.
struct DivergenceOrder {
  double alpha = 1;
  double excess = 0;         // α − 1, exactly 0 for softmax
  double exponent = 0;       // k; 0 for softmax, where it has no meaning
  int integer_exponent = 0;  // k when it is a small whole number, else 0

  ALPHAMARGIN_HOST_DEVICE bool is_softmax() const { return excess == 0; }
  // Newton's method on Φ^{1/k} never overshoots when Φ is convex, which needs k ≥ 1.
  bool is_convex() const { return exponent >= 1; }

  static DivergenceOrder of(double alpha) {
    DivergenceOrder order;
    order.alpha = alpha;
    if (alpha - 1 < kSoftmaxBelow) return order;
    order.excess = alpha - 1;
    order.exponent = 1 / order.excess;
    const double whole = std::round(order.exponent);
    // α = 4/3 in float64 gives k = 3.0000000000000004: the rounding of α, not another order.
    if (whole >= 1 && whole <= kLargestIntegerExponent &&
        std::fabs(order.exponent - whole) <= 1e-12 * whole) {
      order.exponent = whole;
      order.integer_exponent = static_cast<int>(whole);
    }
    return order;
  }
};

// d^{k−1} for the exponents that need no pow. d^k is one multiplication more, so the sums Σ q d^k
// and Σ q d^{k−1} of a Newton step cost one power.
template <int kExponent>
struct FixedPower {
  ALPHAMARGIN_HOST_DEVICE double reduced(double d) const {
    double power = 1;
    for (int i = 1; i < kExponent; ++i) power *= d;
    return power;
  }
  // d^k from d and d^{k−1}; rounded, too, it does not fall while d rises.
  ALPHAMARGIN_HOST_DEVICE double full(double d, double reduced) const { return reduced * d; }
};

// Whole k > 4: by squaring.
struct IntegerPower {
  int exponent;
  ALPHAMARGIN_HOST_DEVICE double reduced(double d) const {
    double power = 1;
    double square = d;
    for (int n = exponent - 1; n > 0; n >>= 1) {
      if (n & 1) power *= square;
      square *= square;
    }
    return power;
  }
  ALPHAMARGIN_HOST_DEVICE double full(double d, double reduced) const { return reduced * d; }
};

// Any other k. In float64 pow keeps k·2^-53 of d's digits, enough for every α above kSoftmaxBelow;
// a float32 kernel must use exp(k·log1p(d − 1)) near α = 1 instead.
struct GeneralPower {
  double exponent;
  ALPHAMARGIN_HOST_DEVICE double reduced(double d) const { return std::pow(d, exponent - 1); }
  ALPHAMARGIN_HOST_DEVICE double full(double d, double reduced) const {
    // With k < 1, d^{k−1} falls while d rises, and the rounded product does now one, now the other.
    return exponent < 1 ? std::pow(d, exponent) : reduced * d;
  }
};

// q·[d]_+^k
template <class Power>
ALPHAMARGIN_HOST_DEVICE inline double powered(const Power& power, double measure, double d) {
  return d > 0 ? measure * (power.reduced(d) * d) : 0.0;
}

// Calls visitor(power) with the cheapest power functor of an order that is not softmax, so that
// inner loops are compiled for it.
template <class Visitor>
auto visit_power(const DivergenceOrder& order, Visitor&& visitor) {
  switch (order.integer_exponent) {
    case 1:
      return visitor(FixedPower<1>{});
    case 2:
      return visitor(FixedPower<2>{});
    case 3:
      return visitor(FixedPower<3>{});
    case 4:
      return visitor(FixedPower<4>{});
    case 0:
      return visitor(GeneralPower{order.exponent});
    default:
      return visitor(IntegerPower{order.integer_exponent});
  }
}

// (e^{(α−1)x} − 1)/(α−1), the deformed exponential's companion: x at α = 1, without cancellation.
inline double deformed(const DivergenceOrder& order, double x) {
  return order.is_softmax() ? x : std::expm1(order.excess * x) / order.excess;
}

}  // namespace alphamargin
