#include "cuda/posterior.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
void posterior(DeviceContext&, MemoryAccount&, const RealMatrix&, double, const float*,
               const RealOutput&, const Cancellation&) {
  throw Failure(FailureCode::kDevice, "not implemented yet");
}
SparseRows sparse_posterior(DeviceContext&, MemoryAccount&, MemoryAccount&, const RealMatrix&,
                            double, const float*, const Cancellation&) {
  throw Failure(FailureCode::kDevice, "not implemented yet");
}
void posterior_backward(DeviceContext&, MemoryAccount&, const RealMatrix&, const RealMatrix&,
                        double, const float*, const RealOutput&, const Cancellation&) {
  throw Failure(FailureCode::kDevice, "not implemented yet");
}
}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
