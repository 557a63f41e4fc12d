#pragma once
// The CUDA C++ that our kernels are written in, on the host: qualifiers, built-in variables,
// barriers, warp operations, atomics, vector types. Lives in the namespace the kernels are compiled
// in; the names are CUDA's.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <source_location>
#include <type_traits>

#include "emulation/half.h"
#include "emulation/launch_state.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

#define threadIdx (::alphamargin::emulated::Launch::current().thread_index())
#define blockIdx (::alphamargin::emulated::Launch::current().block_index())
#define blockDim (::alphamargin::emulated::Launch::current().block_size())
#define gridDim (::alphamargin::emulated::Launch::current().grid_size())

namespace alphamargin::emulated {

using Place = std::source_location;

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};

inline void __syncthreads(Place place = Place::current()) {
  Launch::current().block_barrier(place);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, Place place = Place::current()) {
  Launch::current().exchange("__syncwarp", mask, nullptr, 0, place);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T lane_value(unsigned char (*lanes)[kLaneBytes], unsigned lane) {
  static_assert(sizeof(T) <= kLaneBytes && std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, lanes[lane], sizeof value);
  return value;
}

// A lane that a shuffle reads from must take part in it.
inline void require_lane(const char* operation, unsigned mask, unsigned lane, Place place) {
  if ((mask >> lane & 1u) == 0) Launch::current().missing_lane(operation, lane, place);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, Place place = Place::current()) {
  Launch& launch = Launch::current();
  const unsigned lane = launch.lane();
  const auto size = static_cast<unsigned>(width);
  const unsigned from = (lane & ~(size - 1)) | (static_cast<unsigned>(source) & (size - 1));
  require_lane("__shfl_sync", mask, from, place);
  return lane_value<T>(launch.exchange("__shfl_sync", mask, &value, sizeof value, place), from);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                  Place place = Place::current()) {
  Launch& launch = Launch::current();
  const unsigned lane = launch.lane();
  const auto size = static_cast<unsigned>(width);
  unsigned from = lane ^ static_cast<unsigned>(lanes);
  if (from / size > lane / size) from = lane;
  require_lane("__shfl_xor_sync", mask, from, place);
  return lane_value<T>(launch.exchange("__shfl_xor_sync", mask, &value, sizeof value, place), from);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32,
                   Place place = Place::current()) {
  Launch& launch = Launch::current();
  const unsigned lane = launch.lane();
  const auto size = static_cast<unsigned>(width);
  const unsigned from = lane % size + lanes < size ? lane + lanes : lane;
  require_lane("__shfl_down_sync", mask, from, place);
  return lane_value<T>(launch.exchange("__shfl_down_sync", mask, &value, sizeof value, place),
                       from);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32,
                 Place place = Place::current()) {
  Launch& launch = Launch::current();
  const unsigned lane = launch.lane();
  const auto size = static_cast<unsigned>(width);
  const unsigned from = lane % size >= lanes ? lane - lanes : lane;
  require_lane("__shfl_up_sync", mask, from, place);
  return lane_value<T>(launch.exchange("__shfl_up_sync", mask, &value, sizeof value, place), from);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, Place place = Place::current()) {
  const unsigned vote = predicate != 0;
  auto* lanes = Launch::current().exchange("__ballot_sync", mask, &vote, sizeof vote, place);
  unsigned ballot = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (mask >> lane & 1u) ballot |= lane_value<unsigned>(lanes, lane) << lane;
  }
  return ballot;
}
inline int __any_sync(unsigned mask, int predicate, Place place = Place::current()) {
  return __ballot_sync(mask, predicate, place) != 0;
}
inline int __all_sync(unsigned mask, int predicate, Place place = Place::current()) {
  return __ballot_sync(mask, predicate, place) == mask;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, Place place = Place::current()) {
  auto* lanes = Launch::current().exchange("__match_any_sync", mask, &value, sizeof value, place);
  unsigned equal = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if ((mask >> lane & 1u) && lane_value<T>(lanes, lane) == value) equal |= 1u << lane;
  }
  return equal;
}

// Blocks run one after another and lanes switch only at barriers, so plain code is atomic.
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = old + value;
  return old;
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = std::min<T>(old, value);
  return old;
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = std::max<T>(old, value);
  return old;
}
template <class T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = old | value;
  return old;
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = value;
  return old;
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  const T old = *address;
  if (old == expected) *address = value;
  return old;
}

inline int __popc(unsigned value) { return std::popcount(value); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __clz(int value) { return std::countl_zero(static_cast<unsigned>(value)); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __int_as_float(int value) { return std::bit_cast<float>(value); }
inline float __uint_as_float(unsigned value) { return std::bit_cast<float>(value); }
inline long long __double_as_longlong(double value) { return std::bit_cast<long long>(value); }
inline double __longlong_as_double(long long value) { return std::bit_cast<double>(value); }
template <class T>
T __ldg(const T* address) {
  return *address;
}
using std::max;
using std::min;

// A shared array of its own; `name` is a reference to it.
#define ALPHAMARGIN_SHARED(type, name, count)                                               \
  static const char name##_key = 0;                                                         \
  type(&name)[count] =                                                                      \
      *static_cast<type(*)[count]>(::alphamargin::emulated::Launch::current().shared_array( \
          &name##_key, sizeof(type) * (count), alignof(type)))
// The shared memory given at the launch.
#define ALPHAMARGIN_DYNAMIC_SHARED(type, name) \
  type* name = static_cast<type*>(::alphamargin::emulated::Launch::current().dynamic_shared())

}  // namespace alphamargin::emulated
