#pragma once
// The CUDA devices of this machine and the backend of one of them. The same sources are compiled
// against the emulated device of native/emulation, in the namespace `emulated`.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "common/runtime.h"

namespace alphamargin {

struct CudaDevice {
  std::string name;
  std::size_t memory_bytes = 0;
  int major = 0;  // compute capability
  int minor = 0;
  std::string reason;  // why it cannot be used; empty when it can
};

// What was found. Never throws: a missing driver is an answer.
struct CudaSurvey {
  std::string driver;   // highest CUDA version the driver supports, "" without one
  std::string runtime;  // CUDA version the addon was built with
  std::vector<CudaDevice> devices;
  std::string reason;  // why no device can be used; empty when one can
};

namespace cuda {
CudaSurvey survey_devices();
// Throws ERR_DEVICE when the device cannot be used.
std::shared_ptr<Backend> make_backend(std::shared_ptr<Runtime> runtime, int device);
}  // namespace cuda

namespace emulated {
CudaSurvey survey_devices();
std::shared_ptr<Backend> make_backend(std::shared_ptr<Runtime> runtime, int device);
}  // namespace emulated

}  // namespace alphamargin
