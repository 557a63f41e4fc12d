#pragma once
// Launches of kernels from the PTX of nvcc, in place of those compiled for the host.

#include <cstddef>
#include <span>
#include <string_view>

#include "emulation/launch_state.h"
#include "emulation/ptx/program.h"

namespace alphamargin::emulated::ptx {

struct Argument {
  const void* value;
  std::size_t bytes;
};

struct Shape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes;
  unsigned cluster;
  bool in_order = false;  // of the blocks, whatever the seed
};

// Runs a kernel of a module. Throws DeviceFault.
void launch(const char* name, Module& module, std::string_view kernel, const Shape& shape,
            std::span<const Argument> arguments);

// Whether kernels are to be run from the folder of PTX that ALPHAMARGIN_EMULATED_PTX names, as
// scripts/test-ptx.mjs makes it: files of PTX, and in kernels.txt a line for each kernel with the
// distance of the host's function from launch_instead() below, the file, and the name within it.
bool is_wanted();

// Runs the kernel whose function on the host is `kernel`. Throws DeviceFault.
void launch_instead(const char* name, const void* kernel, const Shape& shape,
                    std::span<const Argument> arguments);

}  // namespace alphamargin::emulated::ptx
