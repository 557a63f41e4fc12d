// Streams, pools of device memory, copies.

#include <map>
#include <mutex>

#include "emulation/cudart/cudart.h"

namespace alphamargin::emulated::cudart {
namespace {

emulated::cudaStream_t own(::cudaStream_t stream) {
  return reinterpret_cast<emulated::cudaStream_t>(stream);
}

// Pools have no memory of their own here: it is the device's.
struct Pool {};

struct Streams {
  std::mutex mutex;
  std::map<::cudaStream_t, int> devices;
};

Streams& streams() {
  static Streams& instance = *new Streams();  // until the process ends
  return instance;
}

}  // namespace

int device_of(::cudaStream_t stream) {
  Streams& all = streams();
  const std::lock_guard lock(all.mutex);
  const auto found = all.devices.find(stream);
  return found == all.devices.end() ? -1 : found->second;
}

}  // namespace alphamargin::emulated::cudart

namespace emulated = alphamargin::emulated;
namespace cudart = emulated::cudart;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  // Another would wait for a stream that nothing here uses.
  if (flags != cudaStreamNonBlocking) {
    return cudart::refuse(cudaErrorInvalidValue, "a stream that is not non-blocking");
  }
  const auto status =
      emulated::cudaStreamCreateWithFlags(reinterpret_cast<emulated::cudaStream_t*>(stream), flags);
  auto& all = cudart::streams();
  const std::lock_guard lock(all.mutex);
  all.devices[*stream] = cudart::current_device();
  return cudart::pass_on(status);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  {
    auto& all = cudart::streams();
    const std::lock_guard lock(all.mutex);
    all.devices.erase(stream);
  }
  return cudart::pass_on(emulated::cudaStreamDestroy(cudart::own(stream)));
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return cudart::pass_on(emulated::cudaStreamSynchronize(cudart::own(stream)));
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* wanted) {
  if (wanted->allocType != cudaMemAllocationTypePinned ||
      wanted->location.type != cudaMemLocationTypeDevice ||
      wanted->location.id != cudart::current_device()) {
    return cudart::refuse(cudaErrorInvalidValue, "a pool that is not the current device's");
  }
  *pool = reinterpret_cast<cudaMemPool_t>(new cudart::Pool());
  return cudaSuccess;
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  delete reinterpret_cast<cudart::Pool*>(pool);
  return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void*) {
  if (attribute != cudaMemPoolAttrReleaseThreshold) {
    return cudart::refuse(cudaErrorInvalidValue, "an attribute of pools that is not known here");
  }
  return cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, std::size_t) { return cudaSuccess; }

cudaError_t cudaMallocFromPoolAsync(void** memory, std::size_t bytes, cudaMemPool_t,
                                    cudaStream_t stream) {
  return cudart::pass_on(
      emulated::cudaMallocFromPoolAsync(memory, bytes, nullptr, cudart::own(stream)));
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  return cudart::pass_on(emulated::cudaFreeAsync(memory, cudart::own(stream)));
}

cudaError_t cudaMemGetInfo(std::size_t* available, std::size_t* total) {
  return cudart::pass_on(emulated::cudaMemGetInfo(available, total));
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  return cudart::pass_on(emulated::cudaMallocHost(memory, bytes));
}

cudaError_t cudaFreeHost(void* memory) { return cudart::pass_on(emulated::cudaFreeHost(memory)); }

cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t stream) {
  const auto copy = [&](emulated::cudaMemcpyKind direction) {
    return cudart::pass_on(
        emulated::cudaMemcpyAsync(target, source, bytes, direction, cudart::own(stream)));
  };
  switch (kind) {
    case cudaMemcpyHostToDevice:
      return copy(emulated::cudaMemcpyHostToDevice);
    case cudaMemcpyDeviceToHost:
      return copy(emulated::cudaMemcpyDeviceToHost);
    case cudaMemcpyDeviceToDevice:
      return copy(emulated::cudaMemcpyDeviceToDevice);
    default:
      return cudart::refuse(cudaErrorInvalidValue, "a copy in a direction that is not known here");
  }
}

cudaError_t cudaMemsetAsync(void* target, int value, std::size_t bytes, cudaStream_t stream) {
  return cudart::pass_on(emulated::cudaMemsetAsync(target, value, bytes, cudart::own(stream)));
}

}  // extern "C"
