#pragma once
// float32 numbers as pairs of float16: the number times a power of two, rounded, and what is left
// of it, rounded. Together they are off by at most 2^-22 of the number (float16 has 11 bits), or by
// 2^-25 where the rest is below 2^-14.
//
// The power brings a row's numbers to 2^15 at most: a fixed one for unit vectors, one by the row's
// largest number for others. Numbers below 2^-39 of it are lost.

#include "cuda/dialect.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// A matrix of pairs in device memory. Without `small` numbers are only rounded.
struct HalfPairs {
  __half* large = nullptr;
  __half* small = nullptr;
  std::size_t stride = 0;  // elements between stored rows, a multiple of 32
};

inline constexpr float kUnitPower = 0x1p15f;
inline constexpr float kUnitInverse = 0x1p-15f;

// Pair `place` of factor·value; the rest is that of the product before it is rounded.
__device__ __forceinline__ void store_pair(const HalfPairs& pairs, std::size_t place, float value,
                                           float factor) {
  const __half large = __float2half_rn(value * factor);
  pairs.large[place] = large;
  if (pairs.small == nullptr) return;
  pairs.small[place] = __float2half_rn(fmaf(value, factor, -__half2float(large)));
}

// The power of two that brings |largest| to 2^14 … 2^15, and its inverse. Both are normal numbers:
// a tiny `largest` stays smaller.
struct PairScale {
  float power;
  float inverse;
};
__device__ inline PairScale pair_scale(float largest) {
  constexpr unsigned kBias = 127;
  constexpr unsigned kMostPower = kBias + 126;
  const unsigned exponent = __float_as_uint(largest) >> 23 & 0xffu;
  // The biased exponent of 2^(14 − e), e = exponent − 127.
  const unsigned power =
      14 + 2 * kBias > exponent + kMostPower ? kMostPower : 14 + 2 * kBias - exponent;
  return {__uint_as_float(power << 23), __uint_as_float((2 * kBias - power) << 23)};
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
