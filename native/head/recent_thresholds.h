#pragma once
// What the thresholds of the last rows suggest for the next ones.
//
// A bound that is certain needs classes to be solved on, and the first of them all survive. Rows of
// one training run have thresholds that differ little, so a bound somewhat below the lowest of the
// last ones is nearly always below the next one too. It is assumed, not known: who uses it checks
// in the end that the solved threshold reaches it, and does without where it does not.

#include <array>
#include <cstddef>

#include "math/margin.h"

namespace alphamargin {

class RecentThresholds {
 public:
  // A cosine that the threshold of nearly every row reaches, or −∞: too few rows were solved with
  // this loss, or the last assumption was a poor one.
  double assumed(const Loss& loss);

  // The thresholds of a call's rows, each as a cosine.
  void add(double threshold);

  // How many rows of a call did not reach what was assumed for them. After a poor assumption some
  // calls make none, the more the more often it happens.
  void judge(std::size_t missed, std::size_t rows);

  void clear() { count_ = 0; }

 private:
  static constexpr std::size_t kKept = 256;
  static constexpr std::size_t kFewest = 64;
  static constexpr std::size_t kLongestPause = 64;  // calls

  std::array<double, kKept> kept_{};
  std::size_t count_ = 0;  // ever added; the last kKept of them are kept
  std::size_t pause_ = 1;
  std::size_t calls_to_wait_ = 0;
  double alpha_ = 0;
  double scale_ = 0;
};

}  // namespace alphamargin
