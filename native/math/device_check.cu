// Compiles the mathematics for the device wherever nvcc is found, so that a change for the host
// cannot make it unusable in kernels. Nothing here is linked or run.

#include "math/alpha_divergence.h"
#include "math/margin.h"
#include "math/threshold.h"

namespace alphamargin {

template <class Power>
__global__ void threshold_of_one_row(Power power, const double* gaps, std::size_t count,
                                     TargetTerm target, ThresholdRoot root, double* out) {
  const Candidates candidates{const_cast<double*>(gaps), nullptr, count};
  const ThresholdSums sums = threshold_sums(power, root.upper, candidates, target);
  out[0] = sums.total;
  out[1] = sums.slope;
  out[2] = posterior_at(power, root, gaps[0], 1.0, target.inverse_gamma);
}

__global__ void margin_of_one_row(Loss loss, double cosine, TargetCosine* out) {
  *out = target_cosine(loss, cosine);
}

template __global__ void threshold_of_one_row(FixedPower<4>, const double*, std::size_t, TargetTerm,
                                              ThresholdRoot, double*);
template __global__ void threshold_of_one_row(IntegerPower, const double*, std::size_t, TargetTerm,
                                              ThresholdRoot, double*);
template __global__ void threshold_of_one_row(GeneralPower, const double*, std::size_t, TargetTerm,
                                              ThresholdRoot, double*);

}  // namespace alphamargin
