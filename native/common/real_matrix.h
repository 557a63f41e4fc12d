#pragma once
// Real-valued input rows as JavaScript hands them over: float32, or float16 as bits.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "common/failure.h"

namespace alphamargin {

inline float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide =
      exponent == 31 ? 0x7f800000u | (mantissa << 13) : ((exponent + 112) << 23) | (mantissa << 13);
  const std::uint32_t word = sign | wide;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

// Rows of float32 or float16, in host memory or on the device of the backend they are given to.
class RealMatrix {
 public:
  RealMatrix(const float* data, std::size_t rows, std::size_t columns, bool on_device = false)
      : single_(data), rows_(rows), columns_(columns), on_device_(on_device) {}
  RealMatrix(const std::uint16_t* data, std::size_t rows, std::size_t columns,
             bool on_device = false)
      : half_(data), rows_(rows), columns_(columns), on_device_(on_device) {}

  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }
  bool is_half() const { return half_ != nullptr; }
  bool on_device() const { return on_device_; }
  std::size_t bytes() const { return rows_ * columns_ * (is_half() ? 2 : 4); }
  const void* data() const {
    return is_half() ? static_cast<const void*>(half_) : static_cast<const void*>(single_);
  }

  // Host memory only. The row as float32: in place for float32 input, else converted into `scratch`
  // [columns].
  const float* row(std::size_t index, float* scratch) const {
    if (!is_half()) return single_ + index * columns_;
    const std::uint16_t* source = half_ + index * columns_;
    for (std::size_t j = 0; j < columns_; ++j) scratch[j] = half_to_float(source[j]);
    return scratch;
  }

 private:
  const float* single_ = nullptr;
  const std::uint16_t* half_ = nullptr;
  std::size_t rows_;
  std::size_t columns_;
  bool on_device_ = false;
};

// Where a float32 result is to be written.
struct RealOutput {
  float* data = nullptr;
  bool on_device = false;
};

// Throws ERR_NON_FINITE naming the row and the first bad element.
inline void check_finite(const char* argument, std::size_t row, const float* values,
                         std::size_t count) {
  // An exponent of all ones is NaN or an infinity; on integers the search vectorises.
  std::uint32_t found = 0;
  for (std::size_t j = 0; j < count; ++j) {
    std::uint32_t bits;
    std::memcpy(&bits, values + j, sizeof bits);
    found |= static_cast<std::uint32_t>((bits & 0x7f800000u) == 0x7f800000u);
  }
  if (found == 0) return;
  for (std::size_t j = 0; j < count; ++j) {
    if (!std::isfinite(values[j])) {
      throw Failure(FailureCode::kNonFinite, "expected " + std::string(argument) + " row " +
                                                 std::to_string(row) +
                                                 " to be finite but received " + shown(values[j]) +
                                                 " at column " + std::to_string(j));
    }
  }
}

inline void check_label(std::size_t row, std::int32_t label, std::size_t classes) {
  if (label < 0 || static_cast<std::size_t>(label) >= classes) {
    throw Failure(FailureCode::kLabelRange, "expected labels[" + std::to_string(row) +
                                                "] to be in [0, " + std::to_string(classes) +
                                                ") but received " + std::to_string(label));
  }
}

// The label of a row that takes no part: it is not read, its loss and gradient are 0, and means are
// taken over the other rows.
inline constexpr std::int32_t kIgnoredLabel = -1;

// Checks a label; returns whether its row counts.
inline bool check_counted(std::size_t row, std::int32_t label, std::size_t classes) {
  if (label == kIgnoredLabel) return false;
  if (label < 0 || static_cast<std::size_t>(label) >= classes) {
    throw Failure(FailureCode::kLabelRange, "expected labels[" + std::to_string(row) +
                                                "] to be in [0, " + std::to_string(classes) +
                                                "), or -1 for a row to ignore, but received " +
                                                std::to_string(label));
  }
  return true;
}

// Checks labels [B]; returns how many rows count (all of them without labels).
inline std::size_t count_rows(const std::int32_t* labels, std::size_t rows, std::size_t classes) {
  if (labels == nullptr) return rows;
  std::size_t counted = 0;
  for (std::size_t row = 0; row < rows; ++row) counted += check_counted(row, labels[row], classes);
  return counted;
}

}  // namespace alphamargin
