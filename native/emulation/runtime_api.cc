#include "emulation/runtime_api.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>

#include "common/real_matrix.h"
#include "emulation/half.h"

namespace alphamargin::emulated {

struct EmulatedStream {
  std::deque<std::function<void()>> work;
  bool is_busy = false;  // whether there is more in it than memory to give back
  cudaError_t error = cudaSuccess;
  std::string fault;
};

namespace {

// The device: one for the process, like a card in a slot.
struct Device {
  std::mutex memory_mutex;  // allocations and settings
  std::map<std::uintptr_t, std::size_t> allocations;
  std::size_t used = 0;
  DeviceSettings settings;
  std::mutex execution_mutex;  // one kernel at a time
};

Device& device() {
  static Device instance;
  return instance;
}

thread_local std::string fault_of_thread;
thread_local cudaError_t error_of_thread = cudaSuccess;
std::atomic<std::uint64_t> waits{0};

cudaError_t fail(cudaError_t error) {
  error_of_thread = error;
  return error;
}

bool inside_allocation(const void* address, std::size_t bytes) {
  const auto place = reinterpret_cast<std::uintptr_t>(address);
  const auto [begin, length] = allocation_around(place);
  return length > 0 && place + bytes <= begin + length;
}

// In front of an allocation a guard and its alignment, behind it a guard.
constexpr std::size_t kAlignment = 256;

char* front_guard(std::uintptr_t memory) { return reinterpret_cast<char*>(memory) - kGuardBytes; }
char* back_guard(std::uintptr_t memory, std::size_t bytes) {
  return reinterpret_cast<char*>(memory) + bytes;
}

// Whether an address belongs to memory of this process at all.
bool is_mapped(std::uintptr_t address) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  return msync(reinterpret_cast<void*>(address & ~(page - 1)), page, MS_ASYNC) == 0;
}

void release(void* memory) {
  Device& card = device();
  {
    const std::lock_guard lock(card.memory_mutex);
    const auto place = card.allocations.find(reinterpret_cast<std::uintptr_t>(memory));
    if (place == card.allocations.end()) {
      throw DeviceFault{"cudaFreeAsync of memory that is not allocated"};
    }
    clear_guard(front_guard(place->first));
    clear_guard(back_guard(place->first, place->second));
    card.used -= place->second;
    card.allocations.erase(place);
  }
  std::free(static_cast<char*>(memory) - kAlignment);
}

void drain(cudaStream_t stream) {
  const std::lock_guard lock(device().execution_mutex);
  while (!stream->work.empty()) {
    const std::function<void()> work = std::move(stream->work.front());
    stream->work.pop_front();
    // After a fault the real device refuses all further work; memory is still given back.
    try {
      work();
    } catch (const DeviceFault& fault) {
      if (stream->error == cudaSuccess) {
        stream->error = cudaErrorLaunchFailure;
        stream->fault = fault.message;
      }
    }
  }
}

}  // namespace

const float* half_table() {
  static const float* const table = [] {
    static float values[1 << 16];
    for (unsigned bits = 0; bits < (1u << 16); ++bits) {
      values[bits] = half_to_float(static_cast<std::uint16_t>(bits));
    }
    return values;
  }();
  return table;
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
  }
  return "cudaErrorUnknown";
}

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorLaunchFailure ? last_fault() : cudaGetErrorName(error);
}

cudaError_t cudaGetLastError() { return std::exchange(error_of_thread, cudaSuccess); }

cudaError_t cudaSetDevice(int index) {
  return index == 0 ? cudaSuccess : fail(cudaErrorInvalidValue);
}

cudaError_t cudaMemGetInfo(std::size_t* available, std::size_t* total) {
  Device& card = device();
  const std::lock_guard lock(card.memory_mutex);
  *total = card.settings.memory_bytes;
  *available = card.used < *total ? *total - card.used : 0;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream();
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  drain(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (std::exchange(stream->is_busy, false)) waits.fetch_add(1);
  drain(stream);
  if (stream->error == cudaSuccess) return cudaSuccess;
  fault_of_thread = std::exchange(stream->fault, std::string());
  return std::exchange(stream->error, cudaSuccess);
}

cudaError_t cudaMallocFromPoolAsync(void** memory, std::size_t bytes, cudaMemPool_t, cudaStream_t) {
  Device& card = device();
  const std::lock_guard lock(card.memory_mutex);
  if (bytes == 0) return fail(cudaErrorInvalidValue);
  if (bytes > card.settings.memory_bytes || card.used > card.settings.memory_bytes - bytes) {
    return fail(cudaErrorMemoryAllocation);
  }
  void* block = nullptr;
  if (posix_memalign(&block, kAlignment, kAlignment + bytes + kGuardBytes) != 0) {
    return fail(cudaErrorMemoryAllocation);
  }
  *memory = static_cast<char*>(block) + kAlignment;
  fill_uninitialised(*memory, bytes, card.settings.seed);
  const auto place = reinterpret_cast<std::uintptr_t>(*memory);
  set_guard(front_guard(place));
  set_guard(back_guard(place, bytes));
  card.allocations[place] = bytes;
  card.used += bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  stream->work.push_back([memory] { release(memory); });
  return cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, std::size_t) { return cudaSuccess; }

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  *memory = device_settings().pinned_memory ? std::malloc(bytes) : nullptr;
  return *memory == nullptr ? fail(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t stream) {
  enqueue(stream, [=] {
    if (kind != cudaMemcpyDeviceToHost) require_device_memory("cudaMemcpyAsync", target, bytes);
    if (kind != cudaMemcpyHostToDevice) require_device_memory("cudaMemcpyAsync", source, bytes);
    std::memcpy(target, source, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* target, int value, std::size_t bytes, cudaStream_t stream) {
  enqueue(stream, [=] {
    require_device_memory("cudaMemsetAsync", target, bytes);
    std::memset(target, value, bytes);
  });
  return cudaSuccess;
}

const char* last_fault() { return fault_of_thread.c_str(); }

void enqueue(cudaStream_t stream, std::function<void()> work) {
  stream->work.push_back(std::move(work));
  stream->is_busy = true;
}

std::uint64_t device_seed() { return device_settings().seed; }
std::uint64_t host_waits() { return waits.load(); }

std::pair<std::uintptr_t, std::size_t> allocation_around(std::uintptr_t address) {
  Device& card = device();
  const std::lock_guard lock(card.memory_mutex);
  auto next = card.allocations.upper_bound(address);
  if (next == card.allocations.begin()) return {0, 0};
  --next;
  if (address >= next->first + next->second) return {0, 0};
  return *next;
}

void require_device_memory(const char* kernel, const void* address, std::size_t bytes) {
  if (address == nullptr || inside_allocation(address, bytes)) return;
  throw DeviceFault{std::string("kernel ") + kernel + ": an argument points to " +
                    (bytes > 1 ? std::to_string(bytes) + " bytes that are" : "memory that is") +
                    " not device memory"};
}

void require_device_pointers(const char* kernel, const void* argument, std::size_t bytes) {
  const auto* words = static_cast<const unsigned char*>(argument);
  for (std::size_t i = 0; i + sizeof(void*) <= bytes; i += sizeof(void*)) {
    std::uintptr_t word;
    std::memcpy(&word, words + i, sizeof word);
    // Below any mapping of a 64-bit process, or above user space: a number, not an address.
    if (word < (std::uintptr_t{1} << 32) || word >> 47 != 0) continue;
    if (inside_allocation(reinterpret_cast<void*>(word), 1) || !is_mapped(word)) continue;
    throw DeviceFault{std::string("kernel ") + kernel +
                      ": an argument points to host memory (byte " + std::to_string(i) +
                      " of the argument)"};
  }
}

void check_guards(const char* kernel) {
  Device& card = device();
  const std::lock_guard lock(card.memory_mutex);
  for (const auto& [memory, bytes] : card.allocations) {
    if (guard_is_intact(front_guard(memory)) && guard_is_intact(back_guard(memory, bytes))) {
      continue;
    }
    // Reported once.
    set_guard(front_guard(memory));
    set_guard(back_guard(memory, bytes));
    throw DeviceFault{std::string("kernel ") + kernel + ": a write beyond the end of " +
                      std::to_string(bytes) + " bytes of device memory"};
  }
}

void configure_device(const DeviceSettings& settings) {
  const std::lock_guard lock(device().memory_mutex);
  device().settings = settings;
}

DeviceSettings device_settings() {
  const std::lock_guard lock(device().memory_mutex);
  return device().settings;
}

}  // namespace alphamargin::emulated
