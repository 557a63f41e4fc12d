#include "cuda/head/prototype_row.cuh"
#include "cuda/head/split_rows.h"
#include "cuda/launch.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 128;
constexpr std::size_t kMostBlocks = 65536;

__global__ void join_rows_kernel(PrototypeArrays prototypes, std::size_t first, std::size_t count,
                                 float* rows) {
  for (std::size_t i = blockIdx.x; i < count; i += gridDim.x) {
    const PrototypeRow row(prototypes, first + i);
    for (std::size_t k = threadIdx.x; k < prototypes.dim; k += blockDim.x) {
      rows[i * prototypes.dim + k] = row[k];
    }
  }
}

__global__ void split_rows_kernel(PrototypeArrays prototypes, std::size_t first, std::size_t count,
                                  const float* rows) {
  for (std::size_t i = blockIdx.x; i < count; i += gridDim.x) {
    const PrototypeRow row(prototypes, first + i);
    for (std::size_t k = threadIdx.x; k < prototypes.dim; k += blockDim.x) {
      row.set(k, rows[i * prototypes.dim + k]);
    }
  }
}

}  // namespace

void join_rows(DeviceContext& context, const PrototypeArrays& prototypes, std::size_t first,
               std::size_t count, float* rows) {
  launch(context, "join_rows_kernel", &join_rows_kernel,
         {blocks_for(count, 1, kMostBlocks), kThreads}, prototypes, first, count, rows);
}

void split_rows(DeviceContext& context, const PrototypeArrays& prototypes, std::size_t first,
                std::size_t count, const float* rows) {
  launch(context, "split_rows_kernel", &split_rows_kernel,
         {blocks_for(count, 1, kMostBlocks), kThreads}, prototypes, first, count, rows);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
