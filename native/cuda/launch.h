#pragma once
// The one way to launch a kernel: checked under nvcc, and a run on the emulated device elsewhere,
// where every pointer among the arguments must be device memory.

#include <string>
#include <type_traits>

#include "cuda/device_context.h"
#if !defined(__CUDACC__)
#include <array>
#include <memory>
#include <tuple>

#include "emulation/ptx/interpreter.h"
#endif

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;  // dynamic shared memory
  unsigned cluster = 1;          // blocks along x that run side by side (sm_90 and later)
};

// Shared memory that a kernel may have without asking.
inline constexpr std::size_t kDefaultSharedBytes = 48 * 1024;

// Arguments are converted to the kernel's parameters, as in a call. `name` is for error messages.
template <class... Parameters>
void launch(DeviceContext& context, const char* name, void (*kernel)(Parameters...),
            const LaunchShape& shape, std::type_identity_t<Parameters>... arguments) {
#if defined(__CUDACC__)
  if (shape.shared_bytes > kDefaultSharedBytes) {
    context.pool().allow_shared_memory(reinterpret_cast<const void*>(kernel), name);
  }
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = shape.cluster;
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = context.stream();
  config.attrs = &cluster;
  config.numAttrs = shape.cluster > 1 ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, arguments...), name);
#else
  auto packed = std::make_shared<std::tuple<Parameters...>>(arguments...);
  enqueue(context.stream(), [name, kernel, shape, packed] {
    std::apply(
        [&](const auto&... argument) {
          (require_device_pointers(name, &argument, sizeof argument), ...);
        },
        *packed);
    if (ptx::is_wanted()) {
      const auto run = [&](const auto&... argument) {
        const std::array<ptx::Argument, sizeof...(argument)> list{
            ptx::Argument{&argument, sizeof argument}...};
        ptx::launch_instead(name, reinterpret_cast<const void*>(kernel),
                            {shape.grid, shape.block, shape.shared_bytes, shape.cluster}, list);
      };
      std::apply(run, *packed);
    } else {
      Launch running(name, shape.grid, shape.block, shape.shared_bytes, device_seed(),
                     shape.cluster);
      running.run([kernel, &packed] { std::apply(kernel, *packed); });
    }
    check_guards(name);
  });
#endif
}

// Blocks of `block` threads for `count` elements, at most `most` of them (kernels stride over the
// rest).
inline unsigned blocks_for(std::size_t count, std::size_t block, std::size_t most = 1u << 20) {
  const std::size_t blocks = (count + block - 1) / block;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks > most ? most : blocks);
}

// Throws when the y dimension of a grid, 65535 blocks at most, is too short for tiles of `tile`
// rows.
inline void check_grid_rows(std::size_t rows, std::size_t tile) {
  const std::size_t most = std::size_t{65535} * tile;
  if (rows <= most) return;
  throw Failure(FailureCode::kInvalidArgument, "expected at most " + std::to_string(most) +
                                                   " rows on a CUDA device but received " +
                                                   std::to_string(rows));
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
