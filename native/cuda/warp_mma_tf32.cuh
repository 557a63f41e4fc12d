#pragma once
// Tensor-core tile m16n8k8 in TF32 (float32 with a mantissa of 10 bits), float32 accumulate, and
// float32 products made of it. Fragments as in the PTX manual, lane = 4·group + member:
//   a[0] row group, column member;  a[1] row group + 8;  a[2], a[3] the same, column + 4
//   b[0] row member, column group;  b[1] row + 4
//   c[0..1] row group, columns 2·member, +1;  c[2..3] row group + 8
//
// A float32 is the sum of two TF32 numbers, its rounding and that of the rest, up to 2^-23 of
// itself. Of the four products of two such sums the smallest, below 2^-22 of the whole, is left
// out.

#include "cuda/warp_mma.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

struct Tf32A {
  std::uint32_t words[4];
};
struct Tf32B {
  std::uint32_t words[2];
};

// The nearest TF32 number, ties away from zero. Of a finite number.
__device__ __forceinline__ std::uint32_t to_tf32(float value) {
  return (__float_as_uint(value) + 0x1000u) & 0xffffe000u;
}

#if !defined(__CUDACC__)
struct Tf32Lane {
  Tf32A a;
  Tf32B b;
  float c[4];
};

inline void tf32_mma_of_warp(unsigned char (*lanes)[kLaneBytes]) {
  // The hardware does not read the last 13 bits.
  const auto value = [](std::uint32_t word) { return __uint_as_float(word & 0xffffe000u); };
  float a[16][8];
  float b[8][8];
  double c[16][8];
  Tf32Lane lane;
  for (unsigned i = 0; i < kWarpSize; ++i) {
    std::memcpy(&lane, lanes[i], sizeof lane);
    const unsigned group = i / 4;
    const unsigned member = i % 4;
    for (unsigned word = 0; word < 4; ++word) {
      a[group + 8 * (word % 2)][member + 4 * (word / 2)] = value(lane.a.words[word]);
    }
    for (unsigned word = 0; word < 2; ++word)
      b[member + 4 * word][group] = value(lane.b.words[word]);
    for (unsigned e = 0; e < 4; ++e) c[group + 8 * (e / 2)][2 * member + e % 2] = lane.c[e];
  }
  add_products(a, b, c);
  for (unsigned i = 0; i < kWarpSize; ++i) {
    std::memcpy(&lane, lanes[i], sizeof lane);
    for (unsigned e = 0; e < 4; ++e)
      lane.c[e] = cut_off(c[i / 4 + 8 * (e / 2)][2 * (i % 4) + e % 2]);
    std::memcpy(lanes[i], &lane, sizeof lane);
  }
}
#endif

// c += a·b for the warp. Requires sm_80; all lanes take part.
__device__ __forceinline__ void mma_m16n8k8(float (&c)[4], const Tf32A& a, const Tf32B& b) {
#if !defined(__CUDACC__)
  Tf32Lane own{a, b, {c[0], c[1], c[2], c[3]}};
  Launch& launch = Launch::current();
  auto* lanes = launch.exchange("mma.sync.m16n8k8", kFullMask, &own, sizeof own, Place::current(),
                                &tf32_mma_of_warp);
  std::memcpy(&own, lanes[launch.lane()], sizeof own);
  for (int e = 0; e < 4; ++e) c[e] = own.c[e];
#elif !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  ALPHAMARGIN_MMA("m16n8k8.row.col.f32.tf32.tf32.f32", "+f");
#else
  no_tensor_cores(c, a, b);
#endif
}

// Fragments of float32 numbers: their rounding to TF32 and the rest.
template <class Fragment>
struct SplitFragment {
  Fragment large;
  Fragment small;

  __device__ __forceinline__ void set(unsigned word, float value) {
    large.words[word] = to_tf32(value);
    small.words[word] = to_tf32(value - __uint_as_float(large.words[word]));
  }
};

// The same without the rest.
template <class Fragment>
struct RoundedFragment {
  Fragment large;

  __device__ __forceinline__ void set(unsigned word, float value) {
    large.words[word] = to_tf32(value);
  }
};

// large + small += a·b in float32 precision. Sums of the small terms are kept apart: to be rounded
// with the large ones three times as often would cost half the last digit. And tensor cores cut off
// what they add up, so that long sums come out small: of the large terms they make short ones.
__device__ __forceinline__ void mma_m16n8k8(float (&large)[4], float (&small)[4],
                                            const SplitFragment<Tf32A>& a,
                                            const SplitFragment<Tf32B>& b) {
  mma_m16n8k8(small, a.small, b.large);
  mma_m16n8k8(small, a.large, b.small);
  float part[4] = {};
  mma_m16n8k8(part, a.large, b.large);
#pragma unroll
  for (int e = 0; e < 4; ++e) large[e] += part[e];
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
