#pragma once
// The prototype head on the device: prototypes, optimiser state and what the filter reads live
// there, and so does every array of a step.

#include <memory>

#include "common/runtime.h"
#include "cuda/device_context.h"
#include "head/head.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

std::shared_ptr<Head> make_device_head(std::shared_ptr<Runtime> runtime,
                                       std::shared_ptr<DevicePool> pool,
                                       const HeadSettings& settings);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
