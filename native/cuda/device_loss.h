#pragma once
// The scalars of a loss as kernels need them.

#include <cstdint>

#include "cuda/dialect.h"
#include "math/margin.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// The scalars of a loss, in float64 from the host: functions of the options alone.
struct DeviceLoss {
  double scale;
  double beta;                    // (α−1)s, or s for softmax
  double excess;                  // α − 1, 0 for softmax
  double exponent;                // k
  std::int64_t integer_exponent;  // k when a small whole number, else 0
  double alpha;
  double gamma;               // exp(βm)
  double log_measure_factor;  // −s m

  __host__ __device__ bool is_softmax() const { return excess == 0; }
  __host__ __device__ bool is_convex() const { return exponent >= 1; }
  static DeviceLoss of(const Loss& loss) {
    return {loss.scale,
            loss.beta(),
            loss.order.excess,
            loss.order.exponent,
            loss.order.integer_exponent,
            loss.order.alpha,
            loss.gamma(),
            loss.log_measure_factor()};
  }
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
