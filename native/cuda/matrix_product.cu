#include "cuda/launch.h"
#include "cuda/matrix_product.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kTile = 64;
constexpr unsigned kSlab = 16;
constexpr unsigned kBlock = 64;  // terms summed in float32

__device__ __forceinline__ double first_sum(const float*) { return 0; }
__device__ __forceinline__ double first_sum(const double* out) { return *out; }

// 16 × 16 threads own 4 × 4 elements each.
template <class Out>
__global__ void __launch_bounds__(kThreads)
    product_kernel(DeviceOperand left, DeviceOperand right, ProductShape shape, Out* out) {
  struct Row {
    float values[kTile + 1];
  };
  ALPHAMARGIN_SHARED(Row, a, kSlab);
  ALPHAMARGIN_SHARED(Row, b, kSlab);
  const std::size_t first_row = std::size_t{blockIdx.y} * kTile;
  const std::size_t first_column = std::size_t{blockIdx.x} * kTile;
  const unsigned own_row = threadIdx.x / 16;
  const unsigned own_column = threadIdx.x % 16;
  double sums[4][4] = {};
  float block[4][4] = {};
  const auto for_own = [&](const auto& body) {
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      const std::size_t row = first_row + own_row + 16 * i;
#pragma unroll
      for (unsigned j = 0; j < 4; ++j) {
        const std::size_t column = first_column + own_column + 16 * j;
        if (row < shape.rows && column < shape.columns) {
          body(out[row * shape.columns + column], sums[i][j]);
        }
      }
    }
  };
  for_own([](const Out& element, double& sum) { sum = first_sum(&element); });
  for (std::size_t slab = 0; slab < shape.inner; slab += kSlab) {
    for (unsigned i = threadIdx.x; i < kTile * kSlab; i += kThreads) {
      // Neighbouring threads read neighbouring addresses, whichever way an operand lies.
      const unsigned place = left.transposed != 0 ? i % kTile : i / kSlab;
      const unsigned k = left.transposed != 0 ? i / kTile : i % kSlab;
      const std::size_t row = first_row + place;
      a[k].values[place] =
          row < shape.rows && slab + k < shape.inner ? left.at(row, slab + k) : 0.0f;
    }
    for (unsigned i = threadIdx.x; i < kTile * kSlab; i += kThreads) {
      const unsigned place = right.transposed != 0 ? i / kSlab : i % kTile;
      const unsigned k = right.transposed != 0 ? i % kSlab : i / kTile;
      const std::size_t column = first_column + place;
      b[k].values[place] =
          column < shape.columns && slab + k < shape.inner ? right.at(slab + k, column) : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (unsigned k = 0; k < kSlab; ++k) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) {
          block[i][j] =
              fmaf(a[k].values[own_row + 16 * i], b[k].values[own_column + 16 * j], block[i][j]);
        }
      }
    }
    __syncthreads();
    if ((slab + kSlab) % kBlock != 0 && slab + kSlab < shape.inner) continue;
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
#pragma unroll
      for (unsigned j = 0; j < 4; ++j) {
        sums[i][j] += static_cast<double>(block[i][j]);
        block[i][j] = 0;
      }
    }
  }
  for_own([](Out& element, double sum) { element = static_cast<Out>(sum); });
}

template <class Out>
void launch_product(DeviceContext& context, const DeviceOperand& left, const DeviceOperand& right,
                    const ProductShape& shape, Out* out) {
  if (shape.rows == 0 || shape.columns == 0) return;
  check_grid_rows(shape.rows, kTile);
  launch(context, "product_kernel", &product_kernel<Out>,
         {dim3(blocks_for(shape.columns, kTile), blocks_for(shape.rows, kTile)), kThreads}, left,
         right, shape, out);
}

}  // namespace

void matrix_product(DeviceContext& context, const DeviceOperand& left, const DeviceOperand& right,
                    const ProductShape& shape, float* out) {
  launch_product(context, left, right, shape, out);
}

void add_matrix_product(DeviceContext& context, const DeviceOperand& left,
                        const DeviceOperand& right, const ProductShape& shape, double* sums) {
  launch_product(context, left, right, shape, sums);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
