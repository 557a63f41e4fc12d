#include <algorithm>
#include <cstring>
#include <limits>

#include "cuda/device_context.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  // Not to be found again by the next launch.
  cudaGetLastError();
  const bool memory = status == cudaErrorMemoryAllocation;
  throw Failure(memory ? FailureCode::kOutOfMemory : FailureCode::kDevice,
                std::string(what) + " failed: " + cudaGetErrorName(status) + ": " +
                    cudaGetErrorString(status));
}

#if defined(__CUDACC__)
namespace {
__global__ void probe_kernel() {}
}  // namespace

cudaError_t find_code(int* capability) {
  cudaFuncAttributes attributes{};
  const cudaError_t status = cudaFuncGetAttributes(&attributes, probe_kernel);
  if (status == cudaSuccess) *capability = attributes.ptxVersion;
  return status;
}
#endif

DevicePool::DevicePool(int device) : device_(device) {
  activate();
#if defined(__CUDACC__)
  int major = 0;
  int minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
        "reading the compute capability");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
        "reading the compute capability");
  compute_capability_ = 10 * major + minor;
  check(find_code(&code_capability_), "looking for code");
  int multiprocessors = 0;
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
        "reading the number of multiprocessors");
  multiprocessors_ = static_cast<unsigned>(multiprocessors);
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  check(cudaMemPoolCreate(&pool_, &properties), "making a memory pool");
  // Freed memory is kept until the device is full (see allocate) or the backend goes.
  std::uint64_t threshold = std::numeric_limits<std::uint64_t>::max();
  check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &threshold),
        "configuring a memory pool");
#endif
}

DevicePool::~DevicePool() {
#if defined(__CUDACC__)
  cudaSetDevice(device_);
  cudaMemPoolDestroy(pool_);
#endif
}

int DevicePool::compute_capability() const {
#if defined(__CUDACC__)
  return compute_capability_;
#else
  return device_settings().compute_capability;  // tests choose
#endif
}

int DevicePool::code_capability() const {
#if defined(__CUDACC__)
  return code_capability_;
#else
  return compute_capability();
#endif
}

void DevicePool::allow_shared_memory(const void* kernel, const char* name) {
#if defined(__CUDACC__)
  const std::lock_guard lock(mutex_);
  if (allowed_.contains(kernel)) return;
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, kernel), name);
  int most = 0;
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device_), name);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             most - static_cast<int>(attributes.sharedSizeBytes)),
        name);
  allowed_.insert(kernel);
#else
  static_cast<void>(kernel), static_cast<void>(name);
#endif
}

void DevicePool::activate() const { check(cudaSetDevice(device_), "choosing the device"); }

void* DevicePool::allocate(std::size_t bytes, cudaStream_t stream, MemoryAccount& account) {
  // Sizes beyond any device are not the driver's to judge: near 2^64 some round up to nothing, and
  // some call them an invalid value.
  constexpr std::size_t kLargest = std::size_t{1} << 48;
  void* memory = nullptr;
  const auto attempt = [&] {
    return bytes > kLargest ? cudaErrorMemoryAllocation
                            : cudaMallocFromPoolAsync(&memory, bytes, pool_, stream);
  };
  cudaError_t status = attempt();
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    check(cudaStreamSynchronize(stream), "waiting for the device");
    check(cudaMemPoolTrimTo(pool_, 0), "trimming the memory pool");
    status = attempt();
  }
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t available = 0;
    std::size_t total = 0;
    cudaMemGetInfo(&available, &total);
    throw Failure(FailureCode::kOutOfMemory, "device memory for " + std::to_string(bytes) +
                                                 " bytes could not be allocated; " +
                                                 std::to_string(available) + " of " +
                                                 std::to_string(total) + " bytes are free");
  }
  check(status, "allocating device memory");
  account.add(bytes);
  return memory;
}

void DevicePool::release(void* memory, std::size_t bytes, cudaStream_t stream,
                         MemoryAccount& account) {
  account.remove(bytes);
  // Nothing sensible can be done about an error here; the next call reports it.
  cudaFreeAsync(memory, stream);
}

namespace {
// The embeddings and gradients of a usual batch, 1024 rows of 512 float32 each way, and its labels
// and results beside them.
constexpr std::size_t kStagingBytes = std::size_t{6} << 20;
constexpr std::size_t kStagingAlignment = 64;
}  // namespace

HostStaging::~HostStaging() {
  if (memory_ != nullptr) cudaFreeHost(memory_);
}

void* HostStaging::take(std::size_t bytes) {
  if (refused_ || bytes > kStagingBytes - used_) return nullptr;
  if (memory_ == nullptr) {
    void* memory = nullptr;
    refused_ = cudaMallocHost(&memory, kStagingBytes) != cudaSuccess;
    if (refused_) {
      cudaGetLastError();
      return nullptr;
    }
    memory_ = static_cast<unsigned char*>(memory);
  }
  void* taken = memory_ + used_;
  const std::size_t after = used_ + bytes + kStagingAlignment - 1;
  used_ = std::min(kStagingBytes, after / kStagingAlignment * kStagingAlignment);
  return taken;
}

void HostStaging::expect(void* host, const void* staged, std::size_t bytes) {
  expected_.push_back({host, staged, bytes});
}

void HostStaging::deliver() noexcept {
  for (const Copy& copy : expected_) std::memcpy(copy.host, copy.staged, copy.bytes);
  clear();
}

void HostStaging::clear() noexcept {
  expected_.clear();
  used_ = 0;
}

DeviceContext::DeviceContext(DevicePool& pool) : pool_(pool) {
  pool_.activate();
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
}

DeviceContext::~DeviceContext() {
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

cudaError_t DeviceContext::wait() noexcept {
  const cudaError_t status = cudaStreamSynchronize(stream_);
  if (status == cudaSuccess) {
    staging_.deliver();
  } else {
    staging_.clear();
  }
  return status;
}

void DeviceContext::synchronize() { check(wait(), "work on the device"); }
void DeviceContext::drain() noexcept { wait(); }

void DeviceContext::upload(void* device, const void* host, std::size_t bytes) {
  if (bytes == 0) return;
  if (void* staged = staging_.take(bytes); staged != nullptr) {
    std::memcpy(staged, host, bytes);
    host = staged;
  }
  check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_),
        "copying to the device");
}

void DeviceContext::download(void* host, const void* device, std::size_t bytes) {
  if (bytes == 0) return;
  void* staged = staging_.take(bytes);
  check(cudaMemcpyAsync(staged != nullptr ? staged : host, device, bytes, cudaMemcpyDeviceToHost,
                        stream_),
        "copying from the device");
  if (staged != nullptr) staging_.expect(host, staged, bytes);
}

void DeviceContext::copy(void* target, const void* source, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, stream_),
        "copying on the device");
}

void DeviceContext::fill_bytes(void* device, int value, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemsetAsync(device, value, bytes, stream_), "filling device memory");
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
