// What a kernel needs and may have, and its launch.

#include <cuda.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "emulation/cudart/cudart.h"

namespace alphamargin::emulated::cudart {
namespace {

// The configuration between <<<>>> and the call of the kernel's function.
struct Configuration {
  ::dim3 grid;
  ::dim3 block;
  std::size_t shared_bytes;
  ::cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

struct Request {
  Configuration configuration;
  unsigned cluster;
  void** arguments;
};

// Dynamic shared memory beyond the usual that a kernel may have, on a device.
struct SharedMemory {
  std::mutex mutex;
  std::map<std::pair<const Kernel*, int>, std::size_t> allowed;
};

SharedMemory& shared_memory() {
  static SharedMemory& instance = *new SharedMemory();  // until the process ends
  return instance;
}

std::size_t most_dynamic_bytes(const Kernel& kernel, const ptx::Function& code) {
  SharedMemory& all = shared_memory();
  const std::lock_guard lock(all.mutex);
  const auto found = all.allowed.find({&kernel, current_device()});
  return std::max(kDefaultSharedBytes - code.shared_bytes,
                  found == all.allowed.end() ? 0 : found->second);
}

void allow_dynamic_bytes(const Kernel& kernel, std::size_t bytes) {
  SharedMemory& all = shared_memory();
  const std::lock_guard lock(all.mutex);
  all.allowed[{&kernel, current_device()}] = bytes;
}

// What the kernel reads, copied when it is launched.
struct Arguments {
  std::vector<std::vector<unsigned char>> values;
  std::vector<ptx::Argument> list;
};

dim3 shape_of(const ::dim3& value) { return {value.x, value.y, value.z}; }

// The kernel's code for the device; null, and the error in `status`, when there is none.
const ptx::Function* code_of(const Kernel* kernel, ::cudaError_t& status) {
  if (kernel == nullptr) {
    status = refuse(cudaErrorInvalidDeviceFunction, "the kernel is not registered");
    return nullptr;
  }
  const ptx::Function* const code =
      kernel->module == nullptr || !kernel->module->runs_on(machine().capability)
          ? nullptr
          : kernel->module->entry(kernel->entry);
  if (code == nullptr) {
    status = refuse(cudaErrorNoKernelImageForDevice, "the addon has no PTX of " + kernel->name);
  }
  return code;
}

::cudaError_t start(const void* function, const Request& request) {
  const Kernel* const kernel = find_kernel(function);
  ::cudaError_t status = ::cudaSuccess;
  const ptx::Function* const code = code_of(kernel, status);
  if (code == nullptr) return status;
  const auto& [grid, block, shared_bytes, stream] = request.configuration;
  const auto invalid = [&](const std::string& what) {
    return refuse(cudaErrorInvalidConfiguration, kernel->name + ": " + what);
  };
  if (device_of(stream) != current_device()) {
    return refuse(cudaErrorInvalidResourceHandle,
                  kernel->name + ": the stream is not the current device's");
  }
  if (shape_of(grid).count() == 0 || shape_of(block).count() == 0) return invalid("it is empty");
  if (shape_of(block).count() > code->most_threads) return invalid("a block of too many threads");
  if (grid.y > 65535 || grid.z > 65535) return invalid("the grid is too large");
  if (shared_bytes > most_dynamic_bytes(*kernel, *code)) {
    return invalid(std::to_string(shared_bytes) + " bytes of dynamic shared memory");
  }
  constexpr int kFirstWithClusters = 90;
  const unsigned most_blocks_of_cluster = machine().capability < kFirstWithClusters ? 1 : 8;
  if (request.cluster == 0 || request.cluster > most_blocks_of_cluster ||
      grid.x % request.cluster != 0) {
    return invalid("clusters of " + std::to_string(request.cluster) + " blocks");
  }
  auto arguments = std::make_shared<Arguments>();
  for (std::size_t i = 0; i < code->parameters.size(); ++i) {
    const auto* const value = static_cast<const unsigned char*>(request.arguments[i]);
    arguments->values.emplace_back(value, value + code->parameters[i].bytes);
    arguments->list.push_back({arguments->values.back().data(), code->parameters[i].bytes});
  }
  // CUB's blocks wait for those before them, which a GPU starts first; and it hands over unions
  // whose other half is whatever the stack had.
  const bool is_cub = kernel->name.find("cub::") != std::string::npos;
  const ptx::Shape shape{shape_of(grid), shape_of(block), shared_bytes, request.cluster, is_cub};
  enqueue(reinterpret_cast<emulated::cudaStream_t>(stream), [kernel, shape, arguments, is_cub] {
    const char* const name = kernel->name.c_str();
    for (const ptx::Argument& argument : arguments->list) {
      if (!is_cub) require_device_pointers(name, argument.value, argument.bytes);
    }
    ptx::launch(name, *kernel->module, kernel->entry, shape, arguments->list);
    check_guards(name);
  });
  return ::cudaSuccess;
}

}  // namespace
}  // namespace alphamargin::emulated::cudart

namespace cudart = alphamargin::emulated::cudart;
namespace ptx = alphamargin::emulated::ptx;

extern "C" {

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared_bytes,
                                     CUstream_st* stream) {
  cudart::configurations.push_back({grid, block, shared_bytes, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared_bytes,
                                       void* stream) {
  const cudart::Configuration last = cudart::configurations.back();
  cudart::configurations.pop_back();
  *grid = last.grid;
  *block = last.block;
  *shared_bytes = last.shared_bytes;
  *static_cast<cudaStream_t*>(stream) = last.stream;
  return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               std::size_t shared_bytes, cudaStream_t stream) {
  return cudart::start(kernel, {{grid, block, shared_bytes, stream}, 1, arguments});
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* wanted, const void* function,
                                void** arguments) {
  unsigned cluster = 1;
  for (unsigned i = 0; i < wanted->numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = wanted->attrs[i];
    const auto& size = attribute.val.clusterDim;
    if (attribute.id != cudaLaunchAttributeClusterDimension || size.y != 1 || size.z != 1) {
      return cudart::refuse(cudaErrorInvalidValue, "a launch attribute that is not known here");
    }
    cluster = size.x;
  }
  const cudart::Configuration configuration{wanted->gridDim, wanted->blockDim,
                                            wanted->dynamicSmemBytes, wanted->stream};
  return cudart::start(function, {configuration, cluster, arguments});
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  const cudart::Kernel* const kernel = cudart::find_kernel(function);
  cudaError_t status = cudaSuccess;
  const ptx::Function* const code = cudart::code_of(kernel, status);
  if (code == nullptr) return status;
  std::memset(attributes, 0xff, sizeof *attributes);
  attributes->sharedSizeBytes = code->shared_bytes;
  attributes->localSizeBytes = code->local_bytes;
  attributes->maxThreadsPerBlock = static_cast<int>(code->most_threads);
  attributes->ptxVersion = kernel->module->capability();
  attributes->binaryVersion = cudart::machine().capability;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  const cudart::Kernel* const kernel = cudart::find_kernel(function);
  cudaError_t status = cudaSuccess;
  const ptx::Function* const code = cudart::code_of(kernel, status);
  if (code == nullptr) return status;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      value + static_cast<int>(code->shared_bytes) > cudart::limits().most_of_block()) {
    return cudart::refuse(cudaErrorInvalidValue, kernel->name + ": attribute " +
                                                     std::to_string(attribute) + " cannot be " +
                                                     std::to_string(value));
  }
  cudart::allow_dynamic_bytes(*kernel, static_cast<std::size_t>(value));
  return cudaSuccess;
}

// By threads and shared memory: registers are not known before the driver has compiled the PTX.
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    int* blocks, const void* function, int threads, std::size_t shared_bytes, unsigned) {
  cudaError_t status = cudaSuccess;
  const ptx::Function* const code = cudart::code_of(cudart::find_kernel(function), status);
  if (code == nullptr) return status;
  const auto bytes = static_cast<int>(shared_bytes + code->shared_bytes);
  const cudart::Limits& limits = cudart::limits();
  *blocks = std::min({limits.blocks, limits.threads / threads,
                      limits.shared_bytes / (bytes + limits.reserved_bytes)});
  return cudaSuccess;
}

}  // extern "C"
