// x̂ and ŵ are pairs of float16 as they are; coefficients may be as small as float32 has numbers, so
// they become pairs once by the largest of 512 of their row, for ∂x, and once by the largest of
// their class, for ∂w. That way a row, or a prototype, with tiny coefficients alone has all its
// digits.

#include <algorithm>

#include "cuda/block_reduce.cuh"
#include "cuda/head/chunk_products.h"
#include "cuda/head/prototype_row.cuh"
#include "cuda/launch.h"
#include "cuda/pair_product.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / kWarpSize;

// A warp per row; rows and columns beyond the edges are zeros.
__global__ void __launch_bounds__(kThreads)
    pair_embeddings_kernel(const float* unit, const std::uint32_t* indices, std::size_t rows,
                           std::size_t dim, std::size_t padded_rows, HalfPairs pairs) {
  const std::size_t row = std::size_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize;
  if (row >= padded_rows) return;
  const float* const source = row < rows ? unit + indices[row] * dim : nullptr;
  for (std::size_t k = threadIdx.x % kWarpSize; k < pairs.stride; k += kWarpSize) {
    const float value = source != nullptr && k < dim ? source[k] : 0.0f;
    store_pair(pairs, row * pairs.stride + k, value, kUnitPower);
  }
}

__global__ void __launch_bounds__(kThreads)
    pair_classes_kernel(PrototypeArrays prototypes, std::size_t begin, std::size_t count,
                        std::size_t padded_count, HalfPairs pairs) {
  const std::size_t j = std::size_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize;
  if (j >= padded_count) return;
  const bool exists = j < count;
  const std::size_t identity = begin + (exists ? j : 0);
  const PrototypeRow prototype(prototypes, identity);
  const auto factor = static_cast<float>(kUnitPower / prototypes.norms[identity]);
  for (std::size_t k = threadIdx.x % kWarpSize; k < pairs.stride; k += kWarpSize) {
    const float value = exists && k < prototypes.dim ? prototype[k] : 0.0f;
    store_pair(pairs, j * pairs.stride + k, value, factor);
  }
}

// A block per row of G [R, count] and piece of the product; pairs [R, padded count]. By piece, not
// by chunk, since the rest of a small number is rounded by the scale: chunks are of many sizes.
__global__ void __launch_bounds__(kThreads)
    pair_by_row_kernel(const float* coefficients, std::size_t count, HalfPairs pairs,
                       float* inverses) {
  constexpr unsigned kOwn = kPairPiece / kThreads;
  const std::size_t i = blockIdx.x;
  const std::size_t first = blockIdx.y * kPairPiece + threadIdx.x;
  float values[kOwn];
  float largest = 0;
#pragma unroll
  for (unsigned own = 0; own < kOwn; ++own) {
    const std::size_t j = first + own * kThreads;
    values[own] = j < count ? coefficients[i * count + j] : 0.0f;
    largest = max(largest, fabsf(values[own]));
  }
  const PairScale scale = pair_scale(block_largest(largest));
  if (threadIdx.x == 0) inverses[blockIdx.y * gridDim.x + i] = scale.inverse;
#pragma unroll
  for (unsigned own = 0; own < kOwn; ++own) {
    const std::size_t j = first + own * kThreads;
    if (j < pairs.stride) store_pair(pairs, i * pairs.stride + j, values[own], scale.power);
  }
}

// A block per 32 classes, a warp every 8th row; pairs [padded R, padded count].
__global__ void __launch_bounds__(kThreads)
    pair_by_class_kernel(const float* coefficients, std::size_t rows, std::size_t padded_rows,
                         std::size_t count, HalfPairs pairs, float* inverses) {
  ALPHAMARGIN_SHARED(float, largest_of_warp, kThreads);
  const unsigned lane = threadIdx.x % kWarpSize;
  const unsigned warp = threadIdx.x / kWarpSize;
  const std::size_t j = std::size_t{blockIdx.x} * kWarpSize + lane;
  float largest = 0;
  if (j < count) {
    for (std::size_t i = warp; i < rows; i += kWarps) {
      largest = max(largest, fabsf(coefficients[i * count + j]));
    }
  }
  largest_of_warp[threadIdx.x] = largest;
  __syncthreads();
#pragma unroll
  for (unsigned other = 0; other < kWarps; ++other) {
    largest = max(largest, largest_of_warp[other * kWarpSize + lane]);
  }
  const PairScale scale = pair_scale(largest);
  if (warp == 0 && j < count) inverses[j] = scale.inverse;
  for (std::size_t i = warp; i < padded_rows; i += kWarps) {
    const float value = i < rows && j < count ? coefficients[i * count + j] : 0.0f;
    store_pair(pairs, i * pairs.stride + j, value, scale.power);
  }
}

// sums += the products of all pieces, in order.
__global__ void __launch_bounds__(kThreads)
    add_pieces_kernel(const float* products, std::size_t pieces, std::size_t size, double* sums) {
  const std::size_t i = std::size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= size) return;
  double sum = sums[i];
  for (std::size_t piece = 0; piece < pieces; ++piece) sum += products[piece * size + i];
  sums[i] = sum;
}

// Owns a matrix of pairs, or of rounded numbers alone.
struct PairBuffer {
  DeviceBuffer<__half> large;
  DeviceBuffer<__half> small;

  PairBuffer() = default;
  PairBuffer(const HeadCall& call, std::size_t rows, std::size_t columns)
      : large(call.context, call.scratch, rows * columns),
        small(call.context, call.scratch, call.fast ? 0 : rows * columns) {}
  HalfPairs pairs(std::size_t stride) const { return {large.data(), small.data(), stride}; }
};

class MmaProducts final : public ChunkProducts {
 public:
  MmaProducts(const HeadCall& call, const std::uint32_t* indices, std::size_t rows,
              std::size_t most_classes)
      : call_(call),
        rows_(rows),
        dim_(call.batch.dim),
        padded_rows_(padded_to_slab(rows)),
        padded_dim_(padded_to_slab(dim_)),
        most_classes_(most_classes),
        unit_(call, padded_rows_, padded_dim_),
        classes_(call, padded_to_slab(most_classes_), padded_dim_) {
    launch(call.context, "pair_embeddings_kernel", &pair_embeddings_kernel,
           {blocks_for(padded_rows_, kWarps), kThreads}, call.batch.unit, indices, rows, dim_,
           padded_rows_, unit_.pairs(padded_dim_));
  }

  void cosines(std::size_t begin, std::size_t count, float* cosines) override {
    count_ = count;
    padded_count_ = padded_to_slab(count);
    launch(call_.context, "pair_classes_kernel", &pair_classes_kernel,
           {blocks_for(padded_count_, kWarps), kThreads}, call_.prototypes, begin, count,
           padded_count_, classes_.pairs(padded_dim_));
    pair_product(call_.context, PairLayout::kAlongAlong,
                 {.left = unit_.pairs(padded_dim_),
                  .right = classes_.pairs(padded_dim_),
                  .shape = {rows_, dim_, count},
                  .out = cosines});
  }

  void reserve_gradients(bool of_embeddings, bool of_classes) override {
    DeviceContext& context = call_.context;
    const std::size_t stride = padded_to_slab(most_classes_);
    coefficients_ = PairBuffer(call_, padded_rows_, stride);
    const std::size_t row_pieces = of_embeddings ? pieces_of(most_classes_) * rows_ : 0;
    inverses_ = DeviceBuffer<float>(context, call_.scratch,
                                    std::max(row_pieces, of_classes ? most_classes_ : 0));
    pieces_ = DeviceBuffer<float>(context, call_.scratch, row_pieces * dim_);
  }

  void add_embedding_gradients(const float* coefficients, double* sums) override {
    DeviceContext& context = call_.context;
    const HalfPairs pairs = coefficients_.pairs(padded_count_);
    launch(context, "pair_by_row_kernel", &pair_by_row_kernel,
           {dim3(static_cast<unsigned>(rows_), static_cast<unsigned>(pieces_of(count_))), kThreads},
           coefficients, count_, pairs, inverses_.data());
    pair_product(context, PairLayout::kAlongAcross,
                 {.left = pairs,
                  .right = classes_.pairs(padded_dim_),
                  .shape = {rows_, count_, dim_},
                  .row_inverses = inverses_.data(),
                  .out = pieces_.data(),
                  .piece = kPairPiece});
    launch(context, "add_pieces_kernel", &add_pieces_kernel,
           {blocks_for(rows_ * dim_, kThreads, 0x7fffffff), kThreads}, pieces_.data(),
           pieces_of(count_), rows_ * dim_, sums);
  }

  void class_gradients(const float* coefficients, float* gradients) override {
    DeviceContext& context = call_.context;
    const HalfPairs pairs = coefficients_.pairs(padded_count_);
    launch(context, "pair_by_class_kernel", &pair_by_class_kernel,
           {blocks_for(padded_count_, kWarpSize), kThreads}, coefficients, rows_, padded_rows_,
           count_, pairs, inverses_.data());
    pair_product(context, PairLayout::kAcrossAcross,
                 {.left = pairs,
                  .right = unit_.pairs(padded_dim_),
                  .shape = {count_, rows_, dim_},
                  .row_inverses = inverses_.data(),
                  .out = gradients});
  }

 private:
  const HeadCall& call_;
  std::size_t rows_;
  std::size_t dim_;
  std::size_t padded_rows_;
  std::size_t padded_dim_;
  std::size_t most_classes_;
  std::size_t count_ = 0;
  std::size_t padded_count_ = 0;
  PairBuffer unit_;               // x̂ [padded R, padded D]
  PairBuffer classes_;            // ŵ [padded count, padded D]
  PairBuffer coefficients_;       // G [padded R, padded count], one after the other
  DeviceBuffer<float> inverses_;  // of its scales
  DeviceBuffer<float> pieces_;    // of G ŵ [pieces, R, D]
};

}  // namespace

std::unique_ptr<ChunkProducts> mma_products(const HeadCall& call, const std::uint32_t* indices,
                                            std::size_t rows, std::size_t most_classes) {
  return std::make_unique<MmaProducts>(call, indices, rows, most_classes);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
