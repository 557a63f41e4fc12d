#include "cuda/head/device_head.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
std::shared_ptr<Head> make_device_head(std::shared_ptr<Runtime>, std::shared_ptr<DevicePool>,
                                       const HeadSettings&) {
  throw Failure(FailureCode::kDevice, "not implemented yet");
}
}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
