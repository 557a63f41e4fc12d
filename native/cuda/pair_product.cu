// A block of 8 warps computes a tile of 128 × 128, a warp 64 × 32 of it, in registers. Both
// operands come through shared memory in slabs of 32 of K, three or four stages deep (cp.async),
// swizzled so that neither the copies nor ldmatrix meet in a bank:
//   along K   128 rows of 64 bytes; 16-byte chunk c of row r lies at c ^ (r/2 mod 4)
//   across K  32 rows of 256 bytes, read transposed; chunk c of row k lies at c ^ (k mod 8)

#include "cuda/async_copy.cuh"
#include "cuda/launch.h"
#include "cuda/pair_product.h"
#include "cuda/warp_mma.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kTile = 128;
constexpr unsigned kSlab = kPairSlab;
constexpr unsigned kSteps = kSlab / 16;
constexpr unsigned kColumnWarps = 4;
constexpr unsigned kRowTiles = 4;     // of 16 rows, of a warp
constexpr unsigned kColumnTiles = 4;  // of 8 columns
constexpr unsigned kOfChunk = 8;      // elements of 16 bytes
constexpr unsigned kPartBytes = kTile * kSlab * 2;
constexpr unsigned kCopies = kPartBytes / 16 / kThreads;
constexpr unsigned kFoldSlabs = 2;  // whose products are one sum, at least
constexpr unsigned kFolds = 16;     // sums, unless they would have fewer slabs

template <unsigned kParts>
struct PairShared {
  // Within the 99 KB that a block may have on every device from sm_80 on.
  static constexpr unsigned kStages = kParts == 2 ? 3 : 4;
  struct Stage {
    unsigned char left[kParts][kPartBytes];
    unsigned char right[kParts][kPartBytes];
  };
  Stage stages[kStages];
};
static_assert(sizeof(PairShared<2>) <= 99 * 1024);

// Where 16-byte chunks of an operand's slab lie. `outer` counts rows of the left operand or columns
// of the right one.
template <bool kAlong>
struct SlabLayout;
template <>
struct SlabLayout<true> {
  static __device__ __forceinline__ unsigned offset(unsigned outer, unsigned k) {
    constexpr unsigned kChunks = kSlab / kOfChunk;
    return outer * kSlab * 2 + (k / kOfChunk ^ (outer / 2 % kChunks)) * 16;
  }
  static __device__ __forceinline__ unsigned outer(unsigned i) { return i / (kSlab / kOfChunk); }
  static __device__ __forceinline__ unsigned inner(unsigned i) {
    return i % (kSlab / kOfChunk) * kOfChunk;
  }
};
template <>
struct SlabLayout<false> {
  static __device__ __forceinline__ unsigned offset(unsigned outer, unsigned k) {
    return k * kTile * 2 + (outer / kOfChunk ^ (k % 8)) * 16;
  }
  static __device__ __forceinline__ unsigned outer(unsigned i) {
    return i % (kTile / kOfChunk) * kOfChunk;
  }
  static __device__ __forceinline__ unsigned inner(unsigned i) { return i / (kTile / kOfChunk); }
};

// Copies of an operand's slabs. Beyond the edge the last rows (columns) are read again: what is
// made of them is not stored.
template <bool kAlong, unsigned kParts>
struct SlabLoader {
  using Layout = SlabLayout<kAlong>;
  HalfPairs pairs;
  std::size_t first;
  std::size_t last;  // where a chunk may begin

  __device__ SlabLoader(const HalfPairs& operand, std::size_t first_outer, std::size_t outers)
      : pairs(operand), first(first_outer), last(kAlong ? outers - 1 : operand.stride - kOfChunk) {}

  __device__ __forceinline__ void load(unsigned char (&parts)[kParts][kPartBytes],
                                       std::size_t k) const {
#pragma unroll
    for (unsigned c = 0; c < kCopies; ++c) {
      const unsigned i = threadIdx.x + c * kThreads;
      const std::size_t outer = min(first + Layout::outer(i), last);
      const std::size_t inner = k + Layout::inner(i);
      const std::size_t source =
          kAlong ? outer * pairs.stride + inner : inner * pairs.stride + outer;
      const unsigned target = Layout::offset(Layout::outer(i), Layout::inner(i));
      copy_async16(parts[0] + target, pairs.large + source);
      if constexpr (kParts == 2) copy_async16(parts[1] + target, pairs.small + source);
    }
  }
};

// 16 rows × 16 of K of the left operand.
template <bool kAlong>
__device__ __forceinline__ MmaA load_rows(const unsigned char* part, unsigned row, unsigned k) {
  using Layout = SlabLayout<kAlong>;
  const unsigned lane = threadIdx.x % kWarpSize;
  MmaA a;
  if constexpr (kAlong) {
    load_matrices(a.words, part + Layout::offset(row + lane % 16, k + lane / 16 * 8));
  } else {
    load_transposed(a.words,
                    part + Layout::offset(row + lane / 8 % 2 * 8, k + lane / 16 * 8 + lane % 8));
  }
  return a;
}

// 16 of K × 16 columns of the right operand: b and b + 1.
template <bool kAlong>
__device__ __forceinline__ void load_columns(MmaB* b, const unsigned char* part, unsigned column,
                                             unsigned k) {
  using Layout = SlabLayout<kAlong>;
  const unsigned lane = threadIdx.x % kWarpSize;
  std::uint32_t words[4];
  if constexpr (kAlong) {
    load_matrices(words,
                  part + Layout::offset(column + lane % 8 + lane / 16 * 8, k + lane / 8 % 2 * 8));
  } else {
    load_transposed(words,
                    part + Layout::offset(column + lane / 16 * 8, k + lane / 8 % 2 * 8 + lane % 8));
  }
  b[0] = {{words[0], words[1]}};
  b[1] = {{words[2], words[3]}};
}

using Sums = float[kRowTiles][kColumnTiles][4];

// One slab of a warp's part of the tile, which has so many rows.
template <bool kLeftAlong, bool kRightAlong, unsigned kParts>
__device__ __forceinline__ void multiply_slab(Sums& sums,
                                              const typename PairShared<kParts>::Stage& stage,
                                              unsigned warp_row, unsigned warp_column,
                                              std::size_t rows) {
  // Both steps of pairs at once would not fit the registers.
#pragma unroll(kParts == 2 ? 1 : kSteps)
  for (unsigned step = 0; step < kSteps; ++step) {
    MmaB b[kParts][kColumnTiles];
#pragma unroll
    for (unsigned part = 0; part < kParts; ++part) {
#pragma unroll
      for (unsigned n = 0; n < kColumnTiles; n += 2) {
        load_columns<kRightAlong>(&b[part][n], stage.right[part], warp_column + 8 * n, 16 * step);
      }
    }
#pragma unroll
    for (unsigned m = 0; m < kRowTiles; ++m) {
      // The emulated device multiplies one by one; on a GPU branches would cost more.
      if (kEmulated && 16 * m >= rows) break;
      MmaA a[kParts];
#pragma unroll
      for (unsigned part = 0; part < kParts; ++part) {
        a[part] = load_rows<kLeftAlong>(stage.left[part], warp_row + 16 * m, 16 * step);
      }
      if constexpr (kParts == 1) {
#pragma unroll
        for (unsigned n = 0; n < kColumnTiles; ++n) mma_m16n8k16(sums[m][n], a[0], b[0][n]);
      } else {
        float terms[kColumnTiles][4] = {};
#pragma unroll
        for (unsigned n = 0; n < kColumnTiles; ++n) mma_m16n8k16(terms[n], a[1], b[0][n]);
#pragma unroll
        for (unsigned n = 0; n < kColumnTiles; ++n) mma_m16n8k16(terms[n], a[0], b[1][n]);
#pragma unroll
        for (unsigned n = 0; n < kColumnTiles; ++n) mma_m16n8k16(terms[n], a[0], b[0][n]);
#pragma unroll
        for (unsigned n = 0; n < kColumnTiles; ++n) {
#pragma unroll
          for (unsigned e = 0; e < 4; ++e) sums[m][n][e] += terms[n][e];
        }
      }
    }
  }
}

__device__ __forceinline__ void fold(Sums& totals, Sums& sums) {
#pragma unroll
  for (unsigned m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (unsigned n = 0; n < kColumnTiles; ++n) {
#pragma unroll
      for (unsigned e = 0; e < 4; ++e) {
        totals[m][n][e] += sums[m][n][e];
        sums[m][n][e] = 0;
      }
    }
  }
}

// The warp's part of the tile, from (row, column) of the product.
__device__ void store_sums(const Sums& totals, const PairProduct& product, float* out,
                           std::size_t row, std::size_t column) {
  const auto [rows, inner, columns] = product.shape;
  static_cast<void>(inner);
  const unsigned lane = threadIdx.x % kWarpSize;
#pragma unroll
  for (unsigned m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      const std::size_t i = row + 16 * m + 8 * half + lane / 4;
      if (i >= rows) continue;
      const float inverse = product.row_inverses == nullptr
                                ? kUnitInverse
                                : product.row_inverses[blockIdx.z * rows + i];
      float* const own = out + i * columns;
#pragma unroll
      for (unsigned n = 0; n < kColumnTiles; ++n) {
        const std::size_t j = column + 8 * n + 2 * (lane % 4);
        const float first = totals[m][n][2 * half] * kUnitInverse * inverse;
        const float second = totals[m][n][2 * half + 1] * kUnitInverse * inverse;
        if (j + 1 < columns && columns % 2 == 0) {
          // As one number: of a float2 nvcc stores some in two halves.
          *reinterpret_cast<std::uint64_t*>(own + j) =
              std::uint64_t{__float_as_uint(second)} << 32 | __float_as_uint(first);
        } else {
          if (j < columns) own[j] = first;
          if (j + 1 < columns) own[j + 1] = second;
        }
      }
    }
  }
}

// Grid: (tiles of columns, tiles of rows, pieces of K).
template <bool kLeftAlong, bool kRightAlong, unsigned kParts>
__global__ void __launch_bounds__(kThreads, 1) pair_product_kernel(PairProduct product) {
  using Shared = PairShared<kParts>;
  ALPHAMARGIN_DYNAMIC_SHARED(Shared, shared);
  const auto [rows, inner, columns] = product.shape;
  const std::size_t first_row = std::size_t{blockIdx.y} * kTile;
  const std::size_t first_column = std::size_t{blockIdx.x} * kTile;
  const std::size_t begin = blockIdx.z * product.piece;
  const std::size_t end =
      padded_to_slab(product.piece == 0 ? inner : min(inner, begin + product.piece));
  const SlabLoader<kLeftAlong, kParts> left(product.left, first_row, rows);
  const SlabLoader<kRightAlong, kParts> right(product.right, first_column, columns);

  const unsigned warp = __shfl_sync(kFullMask, threadIdx.x / kWarpSize, 0);
  const unsigned warp_row = warp / kColumnWarps * 16 * kRowTiles;
  const unsigned warp_column = warp % kColumnWarps * 8 * kColumnTiles;
  const std::size_t row = first_row + warp_row;
  const std::size_t column = first_column + warp_column;
  const bool active = column < columns && row < rows;

  std::size_t load_k = begin;
  unsigned load_stage = 0;
  const auto load_next = [&] {
    if (load_k < end) {
      left.load(shared->stages[load_stage].left, load_k);
      right.load(shared->stages[load_stage].right, load_k);
      load_k += kSlab;
    }
    copy_async_commit();
    load_stage = load_stage + 1 == Shared::kStages ? 0 : load_stage + 1;
  };
#pragma unroll
  for (unsigned i = 0; i + 1 < Shared::kStages; ++i) load_next();

  Sums totals = {};
  Sums sums = {};
  const auto fold_slabs = max(kFoldSlabs, static_cast<unsigned>((end - begin) / (kSlab * kFolds)));
  unsigned stage = 0;
  unsigned unfolded = 0;
  for (std::size_t k = begin; k < end; k += kSlab) {
    copy_async_wait<Shared::kStages - 2>();
    __syncthreads();
    load_next();  // into the stage that was read before the barrier
    if (active) {
      multiply_slab<kLeftAlong, kRightAlong, kParts>(sums, shared->stages[stage], warp_row,
                                                     warp_column, rows - row);
    }
    stage = stage + 1 == Shared::kStages ? 0 : stage + 1;
    if (++unfolded < fold_slabs) continue;
    fold(totals, sums);
    unfolded = 0;
  }
  fold(totals, sums);
  copy_async_wait<0>();
  if (active) {
    store_sums(totals, product, product.out + blockIdx.z * rows * columns, row, column);
  }
}

template <bool kLeftAlong, bool kRightAlong, unsigned kParts>
void launch_product(DeviceContext& context, const PairProduct& product) {
  const auto [rows, inner, columns] = product.shape;
  const std::size_t pieces = product.piece == 0 ? 1 : (inner + product.piece - 1) / product.piece;
  launch(context, "pair_product_kernel", &pair_product_kernel<kLeftAlong, kRightAlong, kParts>,
         {dim3(blocks_for(columns, kTile), blocks_for(rows, kTile), static_cast<unsigned>(pieces)),
          kThreads, sizeof(PairShared<kParts>)},
         product);
}

template <unsigned kParts>
void launch_layout(DeviceContext& context, PairLayout layout, const PairProduct& product) {
  switch (layout) {
    case PairLayout::kAlongAlong:
      return launch_product<true, true, kParts>(context, product);
    case PairLayout::kAlongAcross:
      return launch_product<true, false, kParts>(context, product);
    case PairLayout::kAcrossAcross:
      return launch_product<false, false, kParts>(context, product);
  }
}

}  // namespace

void pair_product(DeviceContext& context, PairLayout layout, const PairProduct& product) {
  if (product.shape.rows == 0 || product.shape.columns == 0) return;
  check_grid_rows(product.shape.rows, kTile);
  if (product.left.small != nullptr && product.right.small != nullptr) {
    launch_layout<2>(context, layout, product);
  } else {
    launch_layout<1>(context, layout, product);
  }
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
