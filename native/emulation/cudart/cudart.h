#pragma once
// libcudart for the emulated device: what the addon that nvcc compiled calls. Its host code then
// runs as it was compiled, and its kernels, CUB's too, from the PTX it carries
// (scripts/test-nvcc.mjs). CUDA's own names are declared by the toolkit's headers.

#include <cstddef>
#include <cstdint>
#include <string>

#include "emulation/ptx/interpreter.h"
#include "emulation/runtime_api.h"

// After those: some names of CUDA are macros.
#include <cuda_runtime_api.h>

namespace alphamargin::emulated::cudart {

// What the environment variable ALPHAMARGIN_EMULATED_CUDART says, as "name=number,…", so that a
// test can have a machine of its own.
struct Machine {
  int driver = 13000;    // the CUDA version it supports; 0: there is none
  int devices = 1;       // all of them the same memory
  int capability = 90;   // of the devices: 10·major + minor
  int pools = 1;         // whether the devices have memory pools
  int pinned = 1;        // whether the host has pinned memory
  int megabytes = 8192;  // of device memory
  int seed = 1;          // as in DeviceSettings
  int interval = 0;      // the same
};
const Machine& machine();

// A kernel of the addon.
struct Kernel {
  ptx::Module* module = nullptr;  // null: the addon has no PTX of it
  std::string entry;              // in the module
  std::string name;               // in C++
};

// By the function on the host, which is also its handle; null when it is not known.
const Kernel* find_kernel(const void* function);

// That of the calling thread.
int current_device();
// Where a stream belongs; -1 when there is no such stream.
int device_of(::cudaStream_t stream);

// The failure of a call, and why, for cudaGetErrorString.
::cudaError_t refuse(::cudaError_t error, const std::string& reason);
// That of the emulated device.
::cudaError_t pass_on(emulated::cudaError_t error);

// What a multiprocessor has, by compute capability.
struct Limits {
  int capability;  // and later ones
  int threads;
  int blocks;
  int shared_bytes;
  int reserved_bytes;  // of these for every block

  int most_of_block() const { return shared_bytes - reserved_bytes; }
};
const Limits& limits();
inline constexpr int kMultiprocessors = 132;
inline constexpr std::size_t kDefaultSharedBytes = 48 * 1024;

}  // namespace alphamargin::emulated::cudart
