#pragma once
// exp of a softmax term, to the digits of float32.
//
//   exp(x) = 2^n · 2^f,   n + f = x/ln 2,  |f| ≤ 1/2
//
// The exponent is float64, so that large ones lose nothing; 2^f is float32, with a relative error
// of 3e-7 (two units of CUDA's exp2f). A float64 exp takes some thirty float64 operations for every
// class of every row, and most GPUs have few units for them.

#include "cuda/dialect.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// Below exp(−690) it is 0. For x ≤ 700.
__device__ inline double short_exp(double x) {
  constexpr double kInverseLn2 = 1.4426950408889634;
  if (!(x > -690)) return 0;
  const double exponent = x * kInverseLn2;
  const double whole = rint(exponent);
  const auto power = static_cast<long long>(whole) + 1023;
  return __longlong_as_double(power << 52) *
         static_cast<double>(exp2f(static_cast<float>(exponent - whole)));
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
