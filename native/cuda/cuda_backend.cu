#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "cuda/cuda_backend.h"
#include "cuda/device_context.h"
#include "cuda/head/device_head.h"
#include "cuda/loss.h"
#include "cuda/posterior.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

// Contexts (streams) of calls that have ended, for the next ones.
class ContextPool {
 public:
  explicit ContextPool(DevicePool& pool) : pool_(pool) {}

  std::unique_ptr<DeviceContext> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        auto context = std::move(idle_.back());
        idle_.pop_back();
        return context;
      }
    }
    return std::make_unique<DeviceContext>(pool_);
  }
  void give_back(std::unique_ptr<DeviceContext> context) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(context));
  }

 private:
  DevicePool& pool_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<DeviceContext>> idle_;
};

// Where device arrays are allocated and freed: one stream for all of them, of which there may be
// thousands.
class ArrayMemory {
 public:
  explicit ArrayMemory(std::shared_ptr<DevicePool> pool)
      : pool_(std::move(pool)), context_(*pool_) {}

  // Memory that any stream may use.
  DeviceBuffer<unsigned char> allocate(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    pool_->activate();
    DeviceBuffer<unsigned char> buffer(context_, pool_->account(), bytes);
    context_.synchronize();
    return buffer;
  }
  void release(DeviceBuffer<unsigned char>& buffer) {
    const std::lock_guard lock(mutex_);
    try {
      pool_->activate();
    } catch (const Failure&) {
      // A device that has failed still gives up what is held of it.
    }
    buffer = {};
  }

 private:
  std::shared_ptr<DevicePool> pool_;
  DeviceContext context_;
  std::mutex mutex_;
};

class CudaDeviceArray : public DeviceArray {
 public:
  CudaDeviceArray(std::shared_ptr<ArrayMemory> memory, std::size_t bytes)
      : memory_(std::move(memory)),
        // An empty array has an address of its own too.
        buffer_(memory_->allocate(bytes == 0 ? 1 : bytes)) {
    data_ = buffer_.data();
    bytes_ = bytes;
  }
  ~CudaDeviceArray() override { memory_->release(buffer_); }

 private:
  std::shared_ptr<ArrayMemory> memory_;
  DeviceBuffer<unsigned char> buffer_;
};

class CudaBackend : public Backend {
 public:
  CudaBackend(std::shared_ptr<Runtime> runtime, std::string name, int device)
      : runtime_(std::move(runtime)),
        name_(std::move(name)),
        pool_(std::make_shared<DevicePool>(device)),
        contexts_(*pool_),
        arrays_(std::make_shared<ArrayMemory>(pool_)) {}

  std::string name() const override { return name_; }
  std::size_t device_bytes() const override { return pool_->account().current(); }

  std::shared_ptr<DeviceArray> allocate(std::size_t bytes) override {
    return std::make_shared<CudaDeviceArray>(arrays_, bytes);
  }
  void upload(const void* host, DeviceArray& array) override {
    with_context([&](DeviceContext& context, MemoryAccount&) {
      context.upload(array.data(), host, array.bytes());
    });
  }
  void download(const DeviceArray& array, void* host) override {
    with_context([&](DeviceContext& context, MemoryAccount&) {
      context.download(host, array.data(), array.bytes());
    });
  }

  void posterior(const RealMatrix& logits, double alpha, const float* reference,
                 const RealOutput& out, const Cancellation& cancellation) override {
    with_context([&](DeviceContext& context, MemoryAccount& scratch) {
      ALPHAMARGIN_DEVICE_NAMESPACE::posterior(context, scratch, logits, alpha, reference, out,
                                              cancellation);
    });
  }

  SparseRows sparse_posterior(const RealMatrix& logits, double alpha, const float* reference,
                              const Cancellation& cancellation) override {
    std::optional<SparseRows> rows;
    with_context([&](DeviceContext& context, MemoryAccount& scratch) {
      rows = ALPHAMARGIN_DEVICE_NAMESPACE::sparse_posterior(context, scratch, runtime_->memory,
                                                            logits, alpha, reference, cancellation);
    });
    return std::move(*rows);
  }

  void posterior_backward(const RealMatrix& grad_posterior, const RealMatrix& posterior,
                          double alpha, const float* reference, const RealOutput& out,
                          const Cancellation& cancellation) override {
    with_context([&](DeviceContext& context, MemoryAccount& scratch) {
      ALPHAMARGIN_DEVICE_NAMESPACE::posterior_backward(context, scratch, grad_posterior, posterior,
                                                       alpha, reference, out, cancellation);
    });
  }

  void loss_forward(const RealMatrix& cosines, const std::int32_t* labels, const Loss& loss,
                    const float* reference, const LossOutputs& outputs,
                    const Cancellation& cancellation) override {
    with_context([&](DeviceContext& context, MemoryAccount& scratch) {
      ALPHAMARGIN_DEVICE_NAMESPACE::loss_forward(context, scratch, cosines, labels, loss, reference,
                                                 outputs, cancellation);
    });
  }

  void loss_backward(const RealMatrix& cosines, const std::int32_t* labels, const Loss& loss,
                     const float* reference, const RowSolution* solutions, const float* grad_loss,
                     const RealOutput& grad_cosines, const Cancellation& cancellation) override {
    with_context([&](DeviceContext& context, MemoryAccount& scratch) {
      ALPHAMARGIN_DEVICE_NAMESPACE::loss_backward(context, scratch, cosines, labels, loss,
                                                  reference, solutions, grad_loss, grad_cosines,
                                                  cancellation);
    });
  }

  std::shared_ptr<Head> make_head(const HeadSettings& settings) override {
    pool_->activate();
    return make_device_head(runtime_, pool_, settings);
  }

 private:
  // Runs body(context, scratch) on a stream of its own and waits for it. After a failure the
  // context is given up: nothing of a failed call is found by the next.
  template <class Body>
  void with_context(const Body& body) {
    pool_->activate();
    std::unique_ptr<DeviceContext> context = contexts_.take();
    MemoryAccount scratch(&pool_->account());
    body(*context, scratch);
    context->synchronize();
    contexts_.give_back(std::move(context));
  }

  std::shared_ptr<Runtime> runtime_;
  std::string name_;
  std::shared_ptr<DevicePool> pool_;
  ContextPool contexts_;
  std::shared_ptr<ArrayMemory> arrays_;
};

#if defined(__CUDACC__)
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

struct Start {
  std::string reason;        // why it failed, or empty
  bool concerns_all = true;  // devices of its compute capability
};

Start try_to_start(int device, const std::string& capability) {
  int current = 0;
  cudaGetDevice(&current);
  int code = 0;
  cudaError_t status = cudaSetDevice(device);
  if (status == cudaSuccess) status = find_code(&code);
  cudaGetLastError();
  cudaSetDevice(current);
  if (status == cudaSuccess) return {};
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction) {
    return {"the addon has no kernels for compute capability " + capability};
  }
  return {std::string("it cannot be started: ") + cudaGetErrorString(status), false};
}

// Why a device cannot run our kernels; empty when it can. Of devices of one compute capability only
// the first is started: the others of a machine belong to other processes.
std::string why_unusable(int device, int major, int minor) {
  int pools = 0;
  cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, device);
  if (pools == 0) return "the device has no memory pools";
  static std::mutex mutex;
  static std::map<int, std::string> known;  // by compute capability
  const std::lock_guard lock(mutex);
  const auto found = known.find(10 * major + minor);
  if (found != known.end()) return found->second;
  const std::string capability = std::to_string(major) + "." + std::to_string(minor);
  const Start start = try_to_start(device, capability);
  if (start.concerns_all) known.emplace(10 * major + minor, start.reason);
  return start.reason;
}
#endif

}  // namespace

CudaSurvey survey_devices() {
  CudaSurvey survey;
#if defined(__CUDACC__)
  survey.runtime = version_text(CUDART_VERSION);
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0) {
    survey.reason = "no NVIDIA driver is installed";
    return survey;
  }
  survey.driver = version_text(driver);
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (status == cudaErrorInsufficientDriver) {
    survey.reason = "the NVIDIA driver is too old: it supports CUDA " + survey.driver +
                    ", this build needs CUDA " + survey.runtime + " (driver 580 or newer)";
    return survey;
  }
  if (status != cudaSuccess || count == 0) {
    survey.reason = status == cudaSuccess || status == cudaErrorNoDevice
                        ? "no CUDA device was found"
                        : std::string("CUDA cannot be used: ") + cudaGetErrorString(status);
    return survey;
  }
  for (int device = 0; device < count; ++device) {
    CudaDevice entry;
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, device) == cudaSuccess) {
      entry.name = properties.name;
      entry.memory_bytes = properties.totalGlobalMem;
      entry.major = properties.major;
      entry.minor = properties.minor;
      entry.reason = why_unusable(device, entry.major, entry.minor);
    } else {
      entry.reason = "its properties cannot be read";
    }
    cudaGetLastError();
    if (survey.devices.empty()) survey.reason = entry.reason;
    if (entry.reason.empty()) survey.reason.clear();
    survey.devices.push_back(std::move(entry));
  }
#else
  const DeviceSettings settings = device_settings();
  survey.devices.push_back({"emulated device", settings.memory_bytes,
                            settings.compute_capability / 10, settings.compute_capability % 10,
                            ""});
#endif
  return survey;
}

std::shared_ptr<Backend> make_backend(std::shared_ptr<Runtime> runtime, int device) {
  const CudaSurvey survey = survey_devices();
  const auto index = static_cast<std::size_t>(device);
  if (survey.devices.empty()) throw Failure(FailureCode::kDevice, survey.reason);
  if (device < 0 || index >= survey.devices.size()) {
    throw Failure(FailureCode::kDevice, "there are " + std::to_string(survey.devices.size()) +
                                            " CUDA devices, numbered from 0");
  }
  if (!survey.devices[index].reason.empty()) {
    throw Failure(FailureCode::kDevice, survey.devices[index].reason);
  }
#if defined(__CUDACC__)
  const std::string name = "cuda:" + std::to_string(device);
#else
  const std::string name = "cuda-emulated";
#endif
  return std::make_shared<CudaBackend>(std::move(runtime), name, device);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
