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
  double smoothing;    // ε of label smoothing
  double top_penalty;  // of the inter-top-K penalty

  __host__ __device__ bool is_softmax() const { return excess == 0; }
  __host__ __device__ bool is_convex() const { return exponent >= 1; }
  static DeviceLoss of(const Loss& loss) {
    return {loss.scale,
            loss.beta(),
            loss.order.excess,
            loss.order.exponent,
            loss.order.integer_exponent,
            loss.order.alpha,
            loss.smoothing,
            loss.top_penalty};
  }
};

// The target of a row as kernels need it; RowTarget of the CPU.
struct DeviceTarget {
  double present;     // 1 or 0
  double cosine;      // ψ(c_y) − m3
  double derivative;  // of it with respect to c_y
  double measure;     // q_y before the margin
  double log_factor;  // −s m: log of the margin's factor on it
  double gamma;       // Γ

  __host__ __device__ static DeviceTarget none() { return {0, 0, 1, 1, 0, 1}; }
};

// The margins of a loss (math/margin.h), every one 8 bytes wide. Γ and −s m of the loss's own
// margin come from the host; those of rows with a margin of their own are computed on the device.
struct DeviceMargin {
  double alpha;
  double excess;
  double scale;
  double measure_margin;
  double angle_factor;
  double angular_margin;
  double cosine_margin;
  std::int64_t detach;
  std::int64_t place;
  double log_factor;
  double gamma;
  const float* row_margins;  // on the device

  static DeviceMargin of(const Loss& loss, const float* row_margins) {
    return {loss.order.alpha,
            loss.order.excess,
            loss.scale,
            loss.measure_margin,
            loss.angle_factor,
            loss.angular_margin,
            loss.cosine_margin,
            loss.detach_margin ? 1 : 0,
            static_cast<std::int64_t>(loss.margin_place),
            loss.log_measure_factor(),
            loss.gamma(),
            row_margins};
  }
  __device__ Loss of_row(std::size_t row) const {
    Loss loss;
    loss.order.alpha = alpha;
    loss.order.excess = excess;
    loss.scale = scale;
    loss.measure_margin = measure_margin;
    loss.angle_factor = angle_factor;
    loss.angular_margin = angular_margin;
    loss.cosine_margin = cosine_margin;
    loss.detach_margin = detach != 0;
    loss.margin_place = static_cast<MarginPlace>(place);
    loss.row_margins = row_margins;
    return loss.of_row(row);
  }
  __device__ DeviceTarget target(std::size_t row, double cosine, double measure) const {
    const Loss loss = of_row(row);
    const TargetCosine margined = target_cosine(loss, cosine);
    const bool own = row_margins != nullptr;
    return {1,
            margined.value,
            margined.derivative,
            measure,
            own ? loss.log_measure_factor() : log_factor,
            own ? loss.gamma() : gamma};
  }
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
