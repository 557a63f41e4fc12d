#pragma once
// Which cosines of a row that streams through all classes come from float64.
//
// A float32 product of unit vectors is off by up to 5e-7 = δ. It moves a posterior by s·p^{2−α}·δ,
// so where that could matter classes have their exact cosine, rounded once:
//
//   p ≥ min(2^-10, (2s)^{-1/(2−α)})  for α < 2;  the whole support from α = 2 on
//
// (2^-10 for the sake of many classes whose errors are alike.) In terms of cosines that is
// c ≥ from(solution) + offset(q).

#include <cmath>

#include "cpu/row_solver.h"
#include "math/host_device.h"

namespace alphamargin {

struct ExactClasses {
  double beta;       // (α−1)s, or s for softmax
  double excess;     // α − 1, or 0 for softmax
  double posterior;  // the least that is exact

  ALPHAMARGIN_HOST_DEVICE static ExactClasses of(double beta, double excess) {
    const double scale = excess == 0 ? beta : beta / excess;
    const double least = excess < 1 ? std::pow(2 * scale, -1 / (1 - excess)) : 0.0;
    return {beta, excess, least < 0x1p-10 ? least : 0x1p-10};
  }

  ALPHAMARGIN_HOST_DEVICE double from(const RowSolution& solution) const {
    return solution.reference + (excess == 0 ? solution.lower : -solution.upper) / beta;
  }
  ALPHAMARGIN_HOST_DEVICE double offset(double measure) const {
    const double share = posterior / measure;
    // 2δ: what the float32 cosine may lack.
    return (excess == 0 ? std::log(share) : std::pow(share, excess)) / beta - 1e-6;
  }
};

}  // namespace alphamargin
