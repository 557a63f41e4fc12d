#pragma once
// What emulated tensor cores multiply, as it lies in words of 32 bits, and how their sums end.

#include <bit>

#include "emulation/half.h"

namespace alphamargin::emulated {

struct HalfElements {
  static constexpr unsigned kOfWord = 2;
  using Sum = float;
  using Exact = double;
  static Sum rounded(Exact sum) { return cut_off(sum); }
  static float at(std::uint32_t word, unsigned i) {
    return half_table()[word >> (16 * i) & 0xffffu];
  }
};
struct Bfloat16Elements : HalfElements {
  static float at(std::uint32_t word, unsigned i) {
    return std::bit_cast<float>(i == 0 ? word << 16 : word & 0xffff0000u);
  }
};
struct Int8Elements {
  static constexpr unsigned kOfWord = 4;
  using Sum = std::int32_t;
  using Exact = Sum;
  static Sum rounded(Exact sum) { return sum; }
  static std::int32_t at(std::uint32_t word, unsigned i) {
    return static_cast<std::int8_t>(word >> (8 * i) & 0xffu);
  }
};

}  // namespace alphamargin::emulated
