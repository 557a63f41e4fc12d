// Large products on tensor cores: float32 operands split into two TF32 numbers each
// (warp_mma_tf32.cuh), 3 of their 4 products; or rounded to one, and sums in float32.
//
// A block of 4 warps computes a tile of 64 × 64, a warp 32 × 32 of it. The next slab of k is read
// into registers while this one is multiplied. Shared memory: rows of k, 72 floats apart, so that
// the 4 × 8 places that a fragment reads lie in 32 banks.
// Accumulation and order as in matrix_product.h, but for the order of the terms of a fragment.

#include "cuda/launch.h"
#include "cuda/matrix_product.h"
#include "cuda/warp_mma_tf32.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 128;
constexpr unsigned kTile = 64;
constexpr unsigned kSlab = 16;
constexpr unsigned kBlock = 64;  // terms summed in float32
constexpr unsigned kPitch = kTile + 8;
constexpr unsigned kOwn = kTile * kSlab / kThreads;  // elements of a slab that a thread reads
constexpr unsigned kRowTiles = 2;                    // of 16 rows
constexpr unsigned kColumnTiles = 4;                 // of 8 columns

struct SlabRow {
  float values[kPitch];
};

__device__ __forceinline__ void store(float* out, double value) {
  *out = static_cast<float>(value);
}
__device__ __forceinline__ void store(double* out, double value) { *out += value; }

// One operand's slabs on their way to shared memory. `along_k`: neighbouring addresses are
// neighbours along k.
struct SlabReader {
  bool along_k;
  float next[kOwn];

  __device__ unsigned place(unsigned i) const { return along_k ? i / kSlab : i % kTile; }
  __device__ unsigned inner(unsigned i) const { return along_k ? i % kSlab : i / kTile; }

  template <class Element>
  __device__ void read(const Element& element) {
#pragma unroll
    for (unsigned c = 0; c < kOwn; ++c) {
      const unsigned i = threadIdx.x + c * kThreads;
      next[c] = element(place(i), inner(i));
    }
  }
  __device__ void write(SlabRow* slab) const {
#pragma unroll
    for (unsigned c = 0; c < kOwn; ++c) {
      const unsigned i = threadIdx.x + c * kThreads;
      slab[inner(i)].values[place(i)] = next[c];
    }
  }
};

// float32 products, and what adds up blocks of them.
struct WholeProducts {
  using RowFragment = SplitFragment<Tf32A>;
  using ColumnFragment = SplitFragment<Tf32B>;
  using Sum = double;

  float large[kRowTiles][kColumnTiles][4] = {};
  float small[kRowTiles][kColumnTiles][4] = {};

  __device__ void multiply(unsigned m, unsigned n, const RowFragment& row,
                           const ColumnFragment& column) {
    mma_m16n8k8(large[m][n], small[m][n], row, column);
  }
  __device__ Sum take(unsigned m, unsigned n, unsigned e) {
    const Sum sum = static_cast<double>(large[m][n][e]) + small[m][n][e];
    large[m][n][e] = small[m][n][e] = 0;
    return sum;
  }
};

// Products of rounded operands. Tensor cores cut off what they add up, so sums are short.
struct RoundedProducts {
  using RowFragment = RoundedFragment<Tf32A>;
  using ColumnFragment = RoundedFragment<Tf32B>;
  using Sum = float;

  float block[kRowTiles][kColumnTiles][4] = {};

  __device__ void multiply(unsigned m, unsigned n, const RowFragment& row,
                           const ColumnFragment& column) {
    mma_m16n8k8(block[m][n], row.large, column.large);
  }
  __device__ Sum take(unsigned m, unsigned n, unsigned e) {
    const Sum sum = block[m][n][e];
    block[m][n][e] = 0;
    return sum;
  }
};

template <class Products, class Out>
__global__ void __launch_bounds__(kThreads)
    product_mma_kernel(DeviceOperand left, DeviceOperand right, ProductShape shape, Out* out) {
  ALPHAMARGIN_SHARED(SlabRow, a, kSlab);
  ALPHAMARGIN_SHARED(SlabRow, b, kSlab);
  const std::size_t first_row = std::size_t{blockIdx.y} * kTile;
  const std::size_t first_column = std::size_t{blockIdx.x} * kTile;
  const unsigned warp = threadIdx.x / kWarpSize;
  const unsigned group = threadIdx.x % kWarpSize / 4;
  const unsigned member = threadIdx.x % 4;
  const unsigned warp_row = warp / 2 * 32;
  const unsigned warp_column = warp % 2 * 32;
  typename Products::Sum sums[kRowTiles][kColumnTiles][4] = {};
  Products products;
  SlabReader left_slab{left.transposed == 0, {}};
  SlabReader right_slab{right.transposed != 0, {}};
  const auto read = [&](std::size_t slab) {
    left_slab.read([&](unsigned place, unsigned k) {
      const std::size_t row = first_row + place;
      return row < shape.rows && slab + k < shape.inner ? left.at(row, slab + k) : 0.0f;
    });
    right_slab.read([&](unsigned place, unsigned k) {
      const std::size_t column = first_column + place;
      return column < shape.columns && slab + k < shape.inner ? right.at(slab + k, column) : 0.0f;
    });
  };
  read(0);
  for (std::size_t slab = 0; slab < shape.inner; slab += kSlab) {
    left_slab.write(&a[0]);
    right_slab.write(&b[0]);
    __syncthreads();
    if (slab + kSlab < shape.inner) read(slab + kSlab);
    // Two steps at once would not fit the registers of sm_100 and later.
#pragma unroll 1
    for (unsigned k = 0; k < kSlab; k += 8) {
      typename Products::RowFragment rows[kRowTiles];
#pragma unroll
      for (unsigned m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (unsigned word = 0; word < 4; ++word) {
          rows[m].set(
              word,
              a[k + member + 4 * (word / 2)].values[warp_row + 16 * m + group + 8 * (word % 2)]);
        }
      }
#pragma unroll
      for (unsigned n = 0; n < kColumnTiles; ++n) {
        typename Products::ColumnFragment columns;
#pragma unroll
        for (unsigned word = 0; word < 2; ++word) {
          columns.set(word, b[k + member + 4 * word].values[warp_column + 8 * n + group]);
        }
#pragma unroll
        for (unsigned m = 0; m < kRowTiles; ++m) {
          products.multiply(m, n, rows[m], columns);
        }
      }
    }
    __syncthreads();
    if ((slab + kSlab) % kBlock != 0 && slab + kSlab < shape.inner) continue;
#pragma unroll
    for (unsigned m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (unsigned n = 0; n < kColumnTiles; ++n) {
#pragma unroll
        for (unsigned e = 0; e < 4; ++e) {
          sums[m][n][e] += products.take(m, n, e);
        }
      }
    }
  }
#pragma unroll
  for (unsigned m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (unsigned n = 0; n < kColumnTiles; ++n) {
#pragma unroll
      for (unsigned e = 0; e < 4; ++e) {
        const std::size_t row = first_row + warp_row + 16 * m + group + 8 * (e / 2);
        const std::size_t column = first_column + warp_column + 8 * n + 2 * member + e % 2;
        if (row < shape.rows && column < shape.columns) {
          store(out + row * shape.columns + column, sums[m][n][e]);
        }
      }
    }
  }
}

template <class Out>
void launch_product(DeviceContext& context, const DeviceOperand& left, const DeviceOperand& right,
                    const ProductShape& shape, ProductPrecision precision, Out* out) {
  const auto kernel = precision == ProductPrecision::kTf32
                          ? &product_mma_kernel<RoundedProducts, Out>
                          : &product_mma_kernel<WholeProducts, Out>;
  launch(context, "product_mma_kernel", kernel,
         {dim3(blocks_for(shape.columns, kTile), blocks_for(shape.rows, kTile)), kThreads}, left,
         right, shape, out);
}

}  // namespace

void product_by_mma(DeviceContext& context, const DeviceOperand& left, const DeviceOperand& right,
                    const ProductShape& shape, ProductPrecision precision, float* out) {
  launch_product(context, left, right, shape, precision, out);
}
void product_by_mma(DeviceContext& context, const DeviceOperand& left, const DeviceOperand& right,
                    const ProductShape& shape, ProductPrecision precision, double* sums) {
  launch_product(context, left, right, shape, precision, sums);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
