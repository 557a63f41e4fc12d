#pragma once
// A prototype as kernels read and write it, however it is stored: whole float32 rows, or the two
// 16-bit halves of every float32 in arrays of their own (filter 'mma-split').
//
//   bits(w) = upper·2^16 + lower,  −2^15 ≤ lower < 2^15
//
// The upper half is a bfloat16, w rounded to 8 significant bits (halves away from zero); the lower
// half says what is left of it. Nothing is lost: a split prototype has the same bits as a whole
// one, and so has all that is computed from it. The filter reads the upper halves alone, as they
// are.

#include "cuda/head/head_arrays.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

__device__ inline std::uint16_t upper_half(float value) {
  return static_cast<std::uint16_t>((__float_as_uint(value) + 0x8000u) >> 16);
}
__device__ inline std::uint16_t lower_half(float value) {
  return static_cast<std::uint16_t>(__float_as_uint(value));
}
__device__ inline float bfloat16_value(std::uint16_t bits) {
  return __uint_as_float(static_cast<std::uint32_t>(bits) << 16);
}
__device__ inline float joined(std::uint16_t upper, std::uint16_t lower) {
  // A lower half that is negative took one from the upper.
  const auto rest = static_cast<std::uint32_t>(static_cast<std::int16_t>(lower));
  return __uint_as_float((static_cast<std::uint32_t>(upper) << 16) + rest);
}

struct SplitRow {
  std::uint16_t* upper;
  std::uint16_t* lower;

  __device__ float operator[](std::size_t k) const { return joined(upper[k], lower[k]); }
  __device__ void set(std::size_t k, float value) const {
    upper[k] = upper_half(value);
    lower[k] = lower_half(value);
  }
};

// Either; which one is the same for all threads of a launch.
class PrototypeRow {
 public:
  __device__ PrototypeRow(const PrototypeArrays& prototypes, std::size_t identity)
      : whole_(prototypes.rows == nullptr ? nullptr : prototypes.rows + identity * prototypes.dim),
        split_{nullptr, nullptr} {
    if (whole_ != nullptr) return;
    split_ = {prototypes.upper + identity * prototypes.shadow_dim,
              prototypes.lower + identity * prototypes.dim};
  }

  __device__ float operator[](std::size_t k) const {
    return whole_ != nullptr ? whole_[k] : split_[k];
  }
  __device__ void set(std::size_t k, float value) const {
    if (whole_ != nullptr) {
      whole_[k] = value;
    } else {
      split_.set(k, value);
    }
  }
  __device__ float* whole() const { return whole_; }  // nullptr: in halves
  __device__ const SplitRow& split() const { return split_; }
  // read(row) with what the row is, so that a loop need not ask for every element.
  template <class Read>
  __device__ double with(const Read& read) const {
    return whole_ != nullptr ? read(static_cast<const float*>(whole_)) : read(split_);
  }

 private:
  float* whole_;
  SplitRow split_;
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
