#pragma once
// Arrays on a device as JavaScript objects: what a DeviceTensor holds.

#include <napi.h>

#include <memory>

#include "backend/backend.h"

namespace alphamargin::binding {

// The array behind a value, or nullptr when the value is none; throws ERR_DISPOSED for one that was
// disposed.
std::shared_ptr<DeviceArray> device_array_of(Napi::Value value);

// The same for an argument on `backend`; throws ERR_DEVICE when it lies on another device.
std::shared_ptr<DeviceArray> device_array_on(Napi::Value value, const char* argument,
                                             const Backend& backend, bool& is_half);

}  // namespace alphamargin::binding
