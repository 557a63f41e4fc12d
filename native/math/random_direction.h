#pragma once
// Elements of random directions, by integer arithmetic from (seed, element): the same bits on every
// machine and device, in any order.

#include <cstdint>

#include "math/host_device.h"

namespace alphamargin {

// splitmix64's finaliser: a good hash of a counter.
ALPHAMARGIN_HOST_DEVICE inline std::uint64_t scrambled(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

// Sum of four 16-bit uniforms, centred: close enough to a normal deviate for a random direction and
// free of library functions whose last bit differs between machines.
ALPHAMARGIN_HOST_DEVICE inline float near_normal(std::uint64_t bits) {
  const auto sum = static_cast<std::int64_t>((bits & 0xffff) + ((bits >> 16) & 0xffff) +
                                             ((bits >> 32) & 0xffff) + (bits >> 48));
  return static_cast<float>(sum - 2 * 65535);
}

}  // namespace alphamargin
