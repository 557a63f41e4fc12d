#include "backend/backend_registry.h"

#include <utility>

#include "backend/cpu_backend.h"

namespace alphamargin {

#if defined(ALPHAMARGIN_WITH_CUDA)
const bool kHasCuda = true;
#else
const bool kHasCuda = false;
#endif
#if defined(ALPHAMARGIN_WITH_EMULATION)
const bool kHasEmulation = true;
#else
const bool kHasEmulation = false;
#endif

BackendRegistry::BackendRegistry(std::shared_ptr<Runtime> runtime) : runtime_(std::move(runtime)) {}

const CudaSurvey& BackendRegistry::survey() {
  if (!survey_) {
#if defined(ALPHAMARGIN_WITH_CUDA)
    survey_ = cuda::survey_devices();
#else
    survey_.emplace();
    survey_->reason = "this build has no CUDA kernels";
#endif
  }
  return *survey_;
}

std::shared_ptr<Backend> BackendRegistry::get(const std::string& device) {
  std::string name = device;
  if (device == "cuda") {
    const CudaSurvey& found = survey();
    if (!found.reason.empty()) throw Failure(FailureCode::kDevice, found.reason);
    std::size_t first = 0;
    while (!found.devices[first].reason.empty()) ++first;
    name = "cuda:" + std::to_string(first);
  }
  std::shared_ptr<Backend>& backend = backends_[name];
  if (!backend) backend = make(name);
  return backend;
}

std::shared_ptr<Backend> BackendRegistry::make(const std::string& device) {
  if (device == "cpu") return make_cpu_backend(runtime_);
#if defined(ALPHAMARGIN_WITH_EMULATION)
  if (device == "cuda-emulated") return emulated::make_backend(runtime_, 0);
#endif
  if (device.rfind("cuda:", 0) == 0) {
    // A missing driver says more than a wrong number.
    if (survey().devices.empty()) throw Failure(FailureCode::kDevice, survey().reason);
#if defined(ALPHAMARGIN_WITH_CUDA)
    return cuda::make_backend(runtime_, std::stoi(device.substr(5)));
#endif
  }
  throw Failure(FailureCode::kDevice, "this build has no such device");
}

std::size_t BackendRegistry::device_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [name, backend] : backends_) {
    if (backend) bytes += backend->device_bytes();
  }
  return bytes;
}

}  // namespace alphamargin
