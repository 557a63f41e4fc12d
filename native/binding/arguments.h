#pragma once
// Reads arguments for the kernels. TypeScript has checked meaning; here types and lengths are
// checked once more, because a wrong pointer is not an exception.

#include <napi.h>

#include <cstdint>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "common/failure.h"
#include "common/real_matrix.h"
#include "common/runtime.h"
#include "cpu/posterior.h"
#include "head/prototype_state.h"
#include "math/margin.h"

namespace alphamargin::binding {

// A view of a typed array: where its elements lie and how many there are.
template <class T>
struct Span {
  T* data = nullptr;
  std::size_t size = 0;
  bool present = false;  // false for null: an empty array has no address either
};

Napi::Error argument_error(Napi::Env env, const std::string& argument, const std::string& expected,
                           const std::string& received);

Span<float> read_floats(Napi::Value value, const char* argument);
Span<double> read_doubles(Napi::Value value, const char* argument);
Span<std::int32_t> read_integers(Napi::Value value, const char* argument);
Span<std::uint8_t> read_bytes(Napi::Value value, const char* argument);

// The same, with null or undefined for "none".
Span<float> read_optional_floats(Napi::Value value, const char* argument);
Span<std::int32_t> read_optional_integers(Napi::Value value, const char* argument);
Span<std::uint8_t> read_optional_bytes(Napi::Value value, const char* argument);

// A whole number in [smallest, 2^53).
std::size_t read_size(Napi::Value value, const char* argument, std::size_t smallest = 0);

// float32 or float16 rows of `columns` elements: a typed array, or an array on the device of
// `backend`.
RealMatrix read_matrix(Napi::Value value, const char* argument, std::size_t columns,
                       const std::shared_ptr<Backend>& backend = nullptr);

// Room for `count` float32 elements: a Float32Array, or an array on the device of `backend`.
RealOutput read_output(Napi::Value value, const char* argument, std::size_t count,
                       const std::shared_ptr<Backend>& backend);

void require_length(Napi::Env env, const char* argument, std::size_t actual, std::size_t expected);

double read_alpha(Napi::Value value);
// A loss for a batch of `rows`, which may have margins of their own.
Loss read_loss(Napi::Value value, std::size_t rows);
Optimizer read_optimizer(Napi::Value value);
StateArray read_state_array(Napi::Value value);

Napi::Value make_csr(Napi::Env env, const SparseRows& rows);

}  // namespace alphamargin::binding
