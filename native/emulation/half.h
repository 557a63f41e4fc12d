#pragma once
// IEEE binary16 with the names of cuda_fp16.h, and how tensor cores round to float32.

#include <cmath>
#include <cstdint>
#include <cstring>

namespace alphamargin::emulated {

struct __half {
  std::uint16_t bits;
};

// All 65536 values: a lookup is faster than the conversion in software.
const float* half_table();

inline float __half2float(__half value) { return half_table()[value.bits]; }

// To nearest, ties to even. In integers, since not every compiler has a type for it: a carry out of
// the digits raises the exponent, up to infinity.
inline __half __float2half_rn(float value) {
  constexpr std::uint32_t kInfinity = 0x7f800000;
  constexpr std::uint32_t kSmallestNormal = 0x38800000;  // 2^-14
  std::uint32_t word;
  std::memcpy(&word, &value, sizeof word);
  const std::uint32_t sign = word >> 16 & 0x8000;
  const std::uint32_t size = word & 0x7fffffff;
  std::uint32_t half;
  if (size > kInfinity) {
    half = 0x7e00 | (size >> 13 & 0x3ff);
  } else if (size >= 0x47800000) {  // 2^16
    half = 0x7c00;
  } else if (size < kSmallestNormal) {
    // The last digit of 1/2 is 2^-24, that of the smallest numbers: the sum is rounded to it.
    const float sum = std::fabs(value) + 0.5f;
    std::memcpy(&half, &sum, sizeof half);
    half -= 0x3f000000;
  } else {
    half = (size - (112u << 23) + 0xfff + (size >> 13 & 1)) >> 13;
  }
  return {static_cast<std::uint16_t>(sign | half)};
}

// What a tensor core makes of the sum of an accumulator and a few products: float32, cut off rather
// than rounded to nearest. The manuals do not say so; measurements do, on every architecture since
// Volta (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor cores", 2021).
// Tensor cores also cut off every addend where the largest one's digits end, a few bits further
// down, and some add up 8 products at a time; that is not modelled here.
inline float cut_off(double sum) {
  float result = static_cast<float>(sum);
  if (std::fabs(static_cast<double>(result)) > std::fabs(sum)) {
    std::uint32_t word;
    std::memcpy(&word, &result, sizeof word);
    --word;
    std::memcpy(&result, &word, sizeof result);
  }
  return result;
}

// sums += a·b of a tile. Not instrumented by sanitizers: it reads and writes what its types say,
// and it is most of what emulated tensor cores do.
template <unsigned kRows, unsigned kInner, unsigned kColumns, class Element, class Sum>
__attribute__((no_sanitize("address", "undefined"))) inline void add_products(
    const Element (&a)[kRows][kInner], const Element (&b)[kInner][kColumns],
    Sum (&sums)[kRows][kColumns]) {
  for (unsigned row = 0; row < kRows; ++row) {
    for (unsigned k = 0; k < kInner; ++k) {
      for (unsigned column = 0; column < kColumns; ++column) {
        sums[row][column] += static_cast<Sum>(a[row][k]) * static_cast<Sum>(b[k][column]);
      }
    }
  }
}

}  // namespace alphamargin::emulated
