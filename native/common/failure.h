#pragma once
// What can go wrong below the binding. Kernels throw a Failure; the binding turns it into the typed
// JavaScript error of the same code.

#include <cstdio>
#include <stdexcept>
#include <string>

namespace alphamargin {

enum class FailureCode {
  kInvalidArgument,
  kNonFinite,
  kLabelRange,
  kOutOfMemory,
  kDisposed,
  kBusy,
  kAborted,
  kDevice,
};

inline const char* code_name(FailureCode code) {
  switch (code) {
    case FailureCode::kInvalidArgument:
      return "ERR_INVALID_ARGUMENT";
    case FailureCode::kNonFinite:
      return "ERR_NON_FINITE";
    case FailureCode::kLabelRange:
      return "ERR_LABEL_RANGE";
    case FailureCode::kOutOfMemory:
      return "ERR_OUT_OF_MEMORY";
    case FailureCode::kDisposed:
      return "ERR_DISPOSED";
    case FailureCode::kBusy:
      return "ERR_BUSY";
    case FailureCode::kAborted:
      return "ERR_ABORTED";
    case FailureCode::kDevice:
      return "ERR_DEVICE";
  }
  return "ERR_INVALID_ARGUMENT";
}

// A number as messages show it: short, with an exponent when it is large or small.
inline std::string shown(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", number);
  return text;
}

class Failure : public std::runtime_error {
 public:
  Failure(FailureCode code, const std::string& message)
      : std::runtime_error(message), code_(code) {}
  FailureCode code() const { return code_; }

 private:
  FailureCode code_;
};

// A flag in memory that JavaScript sets to ask for an early end. Checked between pieces of work and
// never after the first write to a head's state.
class Cancellation {
 public:
  Cancellation() = default;
  explicit Cancellation(const int* flag) : flag_(flag) {}
  void check() const {
    if (flag_ != nullptr && __atomic_load_n(flag_, __ATOMIC_RELAXED) != 0) {
      throw Failure(FailureCode::kAborted, "the operation was aborted");
    }
  }

 private:
  const int* flag_ = nullptr;
};

}  // namespace alphamargin
