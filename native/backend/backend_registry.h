#pragma once
// The backends of one addon instance, made when they are first asked for.

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "common/runtime.h"
#include "cuda/cuda_backend.h"

namespace alphamargin {

// What this build has besides the CPU. Not known to who includes this, so that objects of one build
// serve the others (ccache).
extern const bool kHasCuda;
extern const bool kHasEmulation;

class BackendRegistry {
 public:
  explicit BackendRegistry(std::shared_ptr<Runtime> runtime);

  // "cpu", "cuda" (the first usable device), "cuda:N" or "cuda-emulated". Throws ERR_DEVICE with
  // the reason when the device cannot be used.
  std::shared_ptr<Backend> get(const std::string& device);

  // The CUDA devices, looked for once.
  const CudaSurvey& survey();

  // Bytes of device memory in use by all backends made so far.
  std::size_t device_bytes() const;

 private:
  std::shared_ptr<Backend> make(const std::string& device);

  std::shared_ptr<Runtime> runtime_;
  std::optional<CudaSurvey> survey_;
  std::map<std::string, std::shared_ptr<Backend>> backends_;
};

}  // namespace alphamargin
