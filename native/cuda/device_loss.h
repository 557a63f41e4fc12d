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

// The options of a logit margin (math/margin.h), every one 8 bytes wide.
struct DeviceMargin {
  double angle_factor;
  double angular_margin;
  double cosine_margin;
  std::int64_t detach;

  static DeviceMargin of(const Loss& loss) {
    return {loss.angle_factor, loss.angular_margin, loss.cosine_margin, loss.detach_margin ? 1 : 0};
  }
  __device__ TargetCosine target(double cosine) const {
    Loss loss;
    loss.angle_factor = angle_factor;
    loss.angular_margin = angular_margin;
    loss.cosine_margin = cosine_margin;
    loss.detach_margin = detach != 0;
    return target_cosine(loss, cosine);
  }
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
