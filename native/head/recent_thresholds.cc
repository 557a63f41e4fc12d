#include "head/recent_thresholds.h"

#include <algorithm>
#include <cmath>

namespace alphamargin {

double RecentThresholds::assumed(const Loss& loss) {
  if (loss.order.alpha != alpha_ || loss.scale != scale_) {
    clear();
    alpha_ = loss.order.alpha;
    scale_ = loss.scale;
  }
  if (calls_to_wait_ > 0) {
    --calls_to_wait_;
    return -INFINITY;
  }
  const std::size_t count = std::min(count_, kKept);
  if (count < kFewest) return -INFINITY;
  std::array<double, kKept> ordered = kept_;
  const auto end = ordered.begin() + static_cast<std::ptrdiff_t>(count);
  const auto middle = ordered.begin() + static_cast<std::ptrdiff_t>(count / 2);
  std::nth_element(ordered.begin(), middle, end);
  const double lowest = *std::min_element(ordered.begin(), middle);
  // Of normally distributed thresholds one in ten thousand is lower.
  return lowest - (*middle - lowest) / 2;
}

void RecentThresholds::add(double threshold) {
  kept_[count_ % kKept] = threshold;
  ++count_;
}

void RecentThresholds::judge(std::size_t missed, std::size_t rows) {
  if (4 * missed <= rows) {
    pause_ = 1;
    return;
  }
  pause_ = std::min(2 * pause_, kLongestPause);
  calls_to_wait_ = pause_;
  clear();
}

}  // namespace alphamargin
