// The machine: its driver, its devices, and what became of the last call.

#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "emulation/cudart/cudart.h"

namespace alphamargin::emulated::cudart {
namespace {

thread_local ::cudaError_t last_error = ::cudaSuccess;
thread_local std::string last_reason;
thread_local int device_of_thread = 0;

Machine read_machine() {
  constexpr const char* kVariable = "ALPHAMARGIN_EMULATED_CUDART";
  Machine found;
  const std::map<std::string, int*> settings{
      {"driver", &found.driver}, {"devices", &found.devices},  {"capability", &found.capability},
      {"pools", &found.pools},   {"pinned", &found.pinned},    {"megabytes", &found.megabytes},
      {"seed", &found.seed},     {"interval", &found.interval}};
  const char* const text = std::getenv(kVariable);
  std::istringstream list(text == nullptr ? "" : text);
  for (std::string item; std::getline(list, item, ',');) {
    const std::size_t equals = item.find('=');
    const auto setting = settings.find(item.substr(0, equals));
    if (equals == std::string::npos || setting == settings.end()) {
      throw std::runtime_error(std::string(kVariable) + ": " + item);
    }
    *setting->second = std::stoi(item.substr(equals + 1));
  }
  DeviceSettings device;
  device.seed = static_cast<std::uint64_t>(found.seed);
  device.interval = static_cast<std::size_t>(found.interval);
  device.memory_bytes = static_cast<std::size_t>(found.megabytes) << 20;
  device.compute_capability = found.capability;
  device.pinned_memory = found.pinned != 0;
  configure_device(device);
  return found;
}

}  // namespace

const Machine& machine() {
  static const Machine value = read_machine();
  return value;
}

const Limits& limits() {
  static constexpr Limits kLimits[] = {
      {75, 1024, 16, 64 << 10, 0},        {80, 2048, 32, 164 << 10, 1 << 10},
      {86, 1536, 16, 100 << 10, 1 << 10}, {89, 1536, 24, 100 << 10, 1 << 10},
      {90, 2048, 32, 228 << 10, 1 << 10}, {120, 1536, 24, 100 << 10, 1 << 10}};
  const Limits* found = kLimits;
  for (const Limits& next : kLimits) {
    if (next.capability <= machine().capability) found = &next;
  }
  return *found;
}

::cudaError_t refuse(::cudaError_t error, const std::string& reason) {
  last_reason = reason;
  return last_error = error;
}

::cudaError_t pass_on(emulated::cudaError_t error) {
  if (error == emulated::cudaSuccess) return ::cudaSuccess;
  emulated::cudaGetLastError();
  return refuse(static_cast<::cudaError_t>(error), emulated::cudaGetErrorString(error));
}

int current_device() { return device_of_thread; }

namespace {

bool has_device(int device) { return device >= 0 && device < machine().devices; }

::cudaError_t no_device(int device) {
  return refuse(cudaErrorInvalidDevice, "there is no device " + std::to_string(device));
}

}  // namespace
}  // namespace alphamargin::emulated::cudart

namespace emulated = alphamargin::emulated;
using namespace emulated::cudart;

extern "C" {

cudaError_t cudaDriverGetVersion(int* version) {
  *version = machine().driver;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (machine().driver < CUDART_VERSION) {
    return refuse(cudaErrorInsufficientDriver, "the driver is too old");
  }
  if (machine().devices == 0) return refuse(cudaErrorNoDevice, "there is no device");
  *count = machine().devices;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = device_of_thread;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (!has_device(device)) return no_device(device);
  device_of_thread = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!has_device(device)) return no_device(device);
  // What the addon does not ask for is nothing that it should take for an answer.
  std::memset(properties, 0xff, sizeof *properties);
  std::strcpy(properties->name, "emulated device");
  properties->totalGlobalMem = emulated::device_settings().memory_bytes;
  properties->major = machine().capability / 10;
  properties->minor = machine().capability % 10;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (!has_device(device)) return no_device(device);
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = machine().capability / 10;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = machine().capability % 10;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = kMultiprocessors;
      return cudaSuccess;
    case cudaDevAttrMaxGridDimX:
      *value = 0x7fffffff;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(kDefaultSharedBytes);
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = limits().most_of_block();
      return cudaSuccess;
    case cudaDevAttrMemoryPoolsSupported:
      *value = machine().pools;
      return cudaSuccess;
    default:
      return refuse(cudaErrorInvalidValue,
                    "attribute " + std::to_string(attribute) + " is not known here");
  }
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorInvalidDeviceFunction:
      return "cudaErrorInvalidDeviceFunction";
    case cudaErrorNoKernelImageForDevice:
      return "cudaErrorNoKernelImageForDevice";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    default:
      return emulated::cudaGetErrorName(static_cast<emulated::cudaError_t>(error));
  }
}

// Not CUDA's words but what was wrong.
const char* cudaGetErrorString(cudaError_t) { return last_reason.c_str(); }

}  // extern "C"
