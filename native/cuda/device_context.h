#pragma once
// A stream with the memory that is used on it. One context serves one call, or one head, at a time;
// work given to it runs in order, and synchronize() is called only where results go to the host.

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "common/failure.h"
#include "common/memory_account.h"
#include "cuda/dialect.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// The one place where a CUDA error becomes a Failure: ERR_OUT_OF_MEMORY, else ERR_DEVICE.
void check(cudaError_t status, const char* what);

#if defined(__CUDACC__)
// The compute capability, as 10·major + minor, of the PTX that the current device's code was made
// from: at most the device's own. An error where the addon has no code for it. Tried, not guessed:
// it starts the device, which then holds hundreds of megabytes for this process.
cudaError_t find_code(int* capability);
#endif

// Memory of one device, cached by the driver's pool (freed blocks are kept for later calls).
class DevicePool {
 public:
  explicit DevicePool(int device);
  ~DevicePool();
  DevicePool(const DevicePool&) = delete;
  DevicePool& operator=(const DevicePool&) = delete;

  // Makes the device current for this thread.
  void activate() const;
  // 10·major + minor, e.g. 80.
  int compute_capability() const;
  // That of the code for it, which may be older: what kernels may use.
  int code_capability() const;
  // Blocks of one to each of them fill the device.
  unsigned multiprocessors() const { return multiprocessors_; }
  MemoryAccount& account() { return account_; }

  // Lets a kernel have as much dynamic shared memory as the device gives a block. The limit belongs
  // to the kernel, not to a launch: heads of other threads launch it with other sizes.
  void allow_shared_memory(const void* kernel, const char* name);

  // Memory that may be used by work given to `stream` from now on. When the device is full, what
  // the pool keeps is given back and the allocation tried again; then ERR_OUT_OF_MEMORY with the
  // bytes asked for and those free.
  void* allocate(std::size_t bytes, cudaStream_t stream, MemoryAccount& account);
  void release(void* memory, std::size_t bytes, cudaStream_t stream, MemoryAccount& account);

 private:
  int device_;
  int compute_capability_ = 0;
  int code_capability_ = 0;
  // Of the emulated device: so few that the blocks of a persistent grid have several tiles each.
  unsigned multiprocessors_ = 3;
  cudaMemPool_t pool_ = nullptr;
  MemoryAccount account_;
  std::mutex mutex_;
  std::unordered_set<const void*> allowed_;  // kernels
};

// Pinned host memory between the caller's and the device's. The driver copies small arrays from and
// to other memory in steps of its own that hold up the host; here they are copied on the host and
// travel while it goes on. What finds no room goes directly.
class HostStaging {
 public:
  HostStaging() = default;
  ~HostStaging();
  HostStaging(const HostStaging&) = delete;
  HostStaging& operator=(const HostStaging&) = delete;

  // Room for `bytes` until clear(), or nullptr.
  void* take(std::size_t bytes);
  // A copy for deliver() to make: `staged` was taken here.
  void expect(void* host, const void* staged, std::size_t bytes);

  // When the device is done: downloads to where they belong, or not, after an error.
  void deliver() noexcept;
  void clear() noexcept;

 private:
  struct Copy {
    void* host;
    const void* staged;
    std::size_t bytes;
  };
  unsigned char* memory_ = nullptr;
  std::size_t used_ = 0;
  bool refused_ = false;  // the driver gave none
  std::vector<Copy> expected_;
};

class DeviceContext {
 public:
  explicit DeviceContext(DevicePool& pool);
  ~DeviceContext();
  DeviceContext(const DeviceContext&) = delete;
  DeviceContext& operator=(const DeviceContext&) = delete;

  DevicePool& pool() const { return pool_; }
  cudaStream_t stream() const { return stream_; }
  int compute_capability() const { return pool_.compute_capability(); }
  int code_capability() const { return pool_.code_capability(); }
  unsigned multiprocessors() const { return pool_.multiprocessors(); }

  // Waits for everything given to the stream; errors of that work surface here.
  void synchronize();
  // The same where an error has been thrown already, or is found again by the next call.
  void drain() noexcept;

  // Copies in stream order; host memory must stay as it is until synchronize().
  void upload(void* device, const void* host, std::size_t bytes);
  void download(void* host, const void* device, std::size_t bytes);
  void copy(void* target, const void* source, std::size_t bytes);
  void fill_bytes(void* device, int value, std::size_t bytes);

 private:
  cudaError_t wait() noexcept;

  DevicePool& pool_;
  cudaStream_t stream_ = nullptr;
  HostStaging staging_;
};

// Waits for a stream when a scope is left, however that happens: host memory that was given to
// copies lives until then. Declared after that memory, so that it goes first.
class StreamDrain {
 public:
  explicit StreamDrain(DeviceContext& context) : context_(context) {}
  ~StreamDrain() { context_.drain(); }
  StreamDrain(const StreamDrain&) = delete;
  StreamDrain& operator=(const StreamDrain&) = delete;

 private:
  DeviceContext& context_;
};

// `count` elements of device memory, counted on an account; uninitialised.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(DeviceContext& context, MemoryAccount& account, std::size_t count)
      : context_(&context), account_(&account), size_(count) {
    if (count > static_cast<std::size_t>(-1) / sizeof(T)) {
      throw Failure(FailureCode::kOutOfMemory, "an array would exceed the address space");
    }
    if (count > 0) {
      data_ = static_cast<T*>(context.pool().allocate(bytes(), context.stream(), account));
    }
  }
  ~DeviceBuffer() { release(); }
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    DeviceBuffer old(std::move(*this));
    swap(other);
    return *this;
  }

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return size_ * sizeof(T); }
  bool empty() const { return size_ == 0; }

  // Of an empty buffer, which may have no context, there is nothing to copy.
  void upload(const T* host) {
    if (!empty()) context_->upload(data_, host, bytes());
  }
  void download(T* host) const {
    if (!empty()) context_->download(host, data_, bytes());
  }
  void fill_bytes(int value) {
    if (!empty()) context_->fill_bytes(data_, value, bytes());
  }

 private:
  void swap(DeviceBuffer& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(account_, other.account_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  void release() noexcept {
    if (data_ != nullptr) context_->pool().release(data_, bytes(), context_->stream(), *account_);
    data_ = nullptr;
    size_ = 0;
  }

  DeviceContext* context_ = nullptr;
  MemoryAccount* account_ = nullptr;
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
