#include "cuda/loss.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
void loss_forward(DeviceContext&, MemoryAccount&, const RealMatrix&, const std::int32_t*,
                  const Loss&, const float*, const LossOutputs&, const Cancellation&) {
  throw Failure(FailureCode::kDevice, "not implemented yet");
}
void loss_backward(DeviceContext&, MemoryAccount&, const RealMatrix&, const std::int32_t*,
                   const Loss&, const float*, const RowSolution*, const float*, const RealOutput&,
                   const Cancellation&) {
  throw Failure(FailureCode::kDevice, "not implemented yet");
}
}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
