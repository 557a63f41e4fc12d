#pragma once
// Σ a_k b_k in float64 in the CPU's order of summation (KernelSet::dot), so that norms and exact
// cosines have the same bits on every device.
//
// The order: 16 partial sums, the l-th of k ≡ l (mod 16) ascending; then s_l += s_{l+8}, s_{l+4},
// s_{l+2}, s_{l+1}. Products of float32 are exact in float64. Half a warp computes one dot product:
// a lane is a partial sum, and the tree is a butterfly (addition commutes, so all 16 lanes end with
// the same bits). Traffic: both rows once, 64 bytes at a time, eight of them under way.

#include <type_traits>

#include "cuda/head/prototype_row.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

inline constexpr unsigned kDotLanes = 16;

// sum + x·y: the product of two float32 numbers, one of which may have been widened before, is
// exact, so both forms have the same bits.
template <class X>
__device__ __forceinline__ double add_product(double sum, X x, float y) {
#if defined(__CUDACC__)
  return __fma_rn(static_cast<double>(x), static_cast<double>(y), sum);
#else
  return sum + static_cast<double>(x) * static_cast<double>(y);
#endif
}

// Called by all lanes of a warp; each half warp may have operands of its own and all its lanes get
// the result. Blocks are one-dimensional. An operand is an array or a SplitRow; the first may hold
// float32 numbers as float64: most GPUs convert few numbers at a time.
template <class A, class B>
__device__ double exact_dot(const A& a, const B& b, std::size_t count) {
  double sum = 0;
  std::size_t k = threadIdx.x % kDotLanes;
  // All loads of a few steps before the first sum: one after the other they would take the latency
  // of memory each.
  constexpr unsigned kAtOnce = 8;
  using X = std::remove_cvref_t<decltype(a[k])>;
  for (; k + (kAtOnce - 1) * kDotLanes < count; k += kAtOnce * kDotLanes) {
    X x[kAtOnce];
    float y[kAtOnce];
#pragma unroll
    for (unsigned i = 0; i < kAtOnce; ++i) {
      x[i] = a[k + i * kDotLanes];
      y[i] = b[k + i * kDotLanes];
    }
#pragma unroll
    for (unsigned i = 0; i < kAtOnce; ++i) {
      sum = add_product(sum, x[i], y[i]);
    }
  }
  for (; k < count; k += kDotLanes) {
    sum = add_product(sum, a[k], b[k]);
  }
  for (unsigned lanes = kDotLanes / 2; lanes > 0; lanes /= 2) {
    sum += __shfl_xor_sync(kFullMask, sum, static_cast<int>(lanes), static_cast<int>(kDotLanes));
  }
  return sum;
}

// Cosine of an embedding [D] with a prototype, as exact_cosine of cpu/prototype_filter.h; called
// like exact_dot.
template <class T>
__device__ double exact_cosine(const PrototypeArrays& prototypes, const T* embedding,
                               double embedding_norm, std::size_t identity) {
  const double product = PrototypeRow(prototypes, identity).with([&](const auto& prototype) {
    return exact_dot(embedding, prototype, prototypes.dim);
  });
  const double cosine = product / (embedding_norm * prototypes.norms[identity]);
  return cosine < -1 ? -1.0 : cosine > 1 ? 1.0 : cosine;
}
__device__ inline double exact_cosine(const PrototypeArrays& prototypes, const BatchArrays& batch,
                                      std::size_t row, std::size_t identity) {
  return exact_cosine(prototypes, batch.values + row * batch.dim, batch.norms[row], identity);
}

// ‖row‖ for all threads of a block, which may have written the row just before.
template <class Row>
__device__ double block_norm(const Row& row, std::size_t dim) {
  ALPHAMARGIN_SHARED(double, norm, 1);
  __syncthreads();
  if (threadIdx.x < kWarpSize) {
    const double square = exact_dot(row, row, dim);
    if (threadIdx.x == 0) norm[0] = sqrt(square);
  }
  __syncthreads();
  return norm[0];
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
