#include "binding/arguments.h"

#include <cmath>
#include <cstring>

#include "binding/device_array.h"

namespace alphamargin::binding {
namespace {

template <class T>
Span<T> read_array(Napi::Value value, const char* argument, napi_typedarray_type type,
                   const char* type_name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    throw argument_error(value.Env(), argument, type_name, "something else");
  }
  auto array = value.As<Napi::TypedArrayOf<T>>();
  return {array.Data(), array.ElementLength(), true};
}

bool is_absent(const Napi::Value& value) { return value.IsNull() || value.IsUndefined(); }

double read_number(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsNumber()) throw argument_error(object.Env(), name, "a number", "something else");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!std::isfinite(number)) {
    throw argument_error(object.Env(), name, "a finite number", shown(number));
  }
  return number;
}

Napi::Object read_object(Napi::Value value, const char* argument) {
  if (!value.IsObject()) throw argument_error(value.Env(), argument, "an object", "something else");
  return value.As<Napi::Object>();
}

}  // namespace

Napi::Error argument_error(Napi::Env env, const std::string& argument, const std::string& expected,
                           const std::string& received) {
  Napi::Error error = Napi::Error::New(
      env, "expected " + argument + " to be " + expected + " but received " + received);
  error.Value().Set("code", Napi::String::New(env, "ERR_INVALID_ARGUMENT"));
  return error;
}

Span<float> read_floats(Napi::Value value, const char* argument) {
  return read_array<float>(value, argument, napi_float32_array, "a Float32Array");
}

Span<double> read_doubles(Napi::Value value, const char* argument) {
  return read_array<double>(value, argument, napi_float64_array, "a Float64Array");
}

Span<std::int32_t> read_integers(Napi::Value value, const char* argument) {
  return read_array<std::int32_t>(value, argument, napi_int32_array, "an Int32Array");
}

Span<std::uint8_t> read_bytes(Napi::Value value, const char* argument) {
  return read_array<std::uint8_t>(value, argument, napi_uint8_array, "a Uint8Array");
}

Span<float> read_optional_floats(Napi::Value value, const char* argument) {
  return is_absent(value) ? Span<float>{} : read_floats(value, argument);
}

Span<std::int32_t> read_optional_integers(Napi::Value value, const char* argument) {
  return is_absent(value) ? Span<std::int32_t>{} : read_integers(value, argument);
}

Span<std::uint8_t> read_optional_bytes(Napi::Value value, const char* argument) {
  return is_absent(value) ? Span<std::uint8_t>{} : read_bytes(value, argument);
}

std::size_t read_size(Napi::Value value, const char* argument, std::size_t smallest) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(number >= static_cast<double>(smallest) && number < 0x1p53 &&
        number == std::floor(number))) {
    throw argument_error(value.Env(), argument, "a whole number >= " + std::to_string(smallest),
                         shown(number));
  }
  return static_cast<std::size_t>(number);
}

RealMatrix read_matrix(Napi::Value value, const char* argument, std::size_t columns,
                       const std::shared_ptr<Backend>& backend) {
  bool is_half = false;
  const auto device = backend ? device_array_on(value, argument, *backend, is_half)
                              : std::shared_ptr<DeviceArray>();
  if (device) {
    const std::size_t elements = device->bytes() / (is_half ? 2 : 4);
    if (columns == 0 || elements % columns != 0) {
      throw argument_error(value.Env(), argument,
                           "rows of " + std::to_string(columns) + " elements",
                           std::to_string(elements) + " elements");
    }
    const std::size_t rows = elements / columns;
    if (is_half) return {static_cast<const std::uint16_t*>(device->data()), rows, columns, true};
    return {static_cast<const float*>(device->data()), rows, columns, true};
  }
  if (!value.IsTypedArray()) {
    throw argument_error(value.Env(), argument, "a Float32Array or Uint16Array", "something else");
  }
  const auto array = value.As<Napi::TypedArray>();
  if (columns == 0 || array.ElementLength() % columns != 0) {
    throw argument_error(value.Env(), argument, "rows of " + std::to_string(columns) + " elements",
                         std::to_string(array.ElementLength()) + " elements");
  }
  const std::size_t rows = array.ElementLength() / columns;
  if (array.TypedArrayType() == napi_uint16_array) {
    return {value.As<Napi::Uint16Array>().Data(), rows, columns};
  }
  return {read_floats(value, argument).data, rows, columns};
}

RealOutput read_output(Napi::Value value, const char* argument, std::size_t count,
                       const std::shared_ptr<Backend>& backend) {
  bool is_half = false;
  if (const auto device = device_array_on(value, argument, *backend, is_half)) {
    require_length(value.Env(), argument, device->bytes(), count * sizeof(float));
    return {static_cast<float*>(device->data()), true};
  }
  const Span<float> out = read_floats(value, argument);
  require_length(value.Env(), argument, out.size, count);
  return {out.data, false};
}

void require_length(Napi::Env env, const char* argument, std::size_t actual, std::size_t expected) {
  if (actual != expected) {
    throw argument_error(env, argument, "of length " + std::to_string(expected),
                         "length " + std::to_string(actual));
  }
}

double read_alpha(Napi::Value value) {
  const double alpha = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(alpha >= 1) || !std::isfinite(alpha)) {
    throw argument_error(value.Env(), "alpha", "a finite number >= 1", shown(alpha));
  }
  return alpha;
}

MarginPlace read_margin_place(Napi::Value value) {
  const std::string name = value.ToString();
  if (name == "measure") return MarginPlace::kMeasure;
  if (name == "angular") return MarginPlace::kAngular;
  if (name == "cosine") return MarginPlace::kCosine;
  if (name == "none") return MarginPlace::kNone;
  throw argument_error(value.Env(), "loss.marginPlace", "'measure', 'angular', 'cosine' or 'none'",
                       name);
}

Loss read_loss(Napi::Value value, std::size_t rows) {
  const Napi::Object object = read_object(value, "loss");
  Loss loss;
  loss.order = DivergenceOrder::of(read_alpha(object.Get("alpha")));
  loss.scale = read_number(object, "scale");
  loss.measure_margin = read_number(object, "measureMargin");
  loss.angle_factor = read_number(object, "angleFactor");
  loss.angular_margin = read_number(object, "angularMargin");
  loss.cosine_margin = read_number(object, "cosineMargin");
  loss.detach_margin = object.Get("detachMargin").ToBoolean();
  loss.top_count = read_size(object.Get("interTopK"), "interTopK");
  loss.top_penalty = loss.top_count == 0 ? 0 : read_number(object, "interTopKPenalty");
  if (!(loss.top_penalty >= 0)) {
    throw argument_error(value.Env(), "interTopKPenalty", ">= 0", shown(loss.top_penalty));
  }
  loss.smoothing = read_number(object, "labelSmoothing");
  loss.margin_place = read_margin_place(object.Get("marginPlace"));
  const Span<float> margins = read_optional_floats(object.Get("margins"), "loss.margins");
  if (margins.present) require_length(value.Env(), "loss.margins", margins.size, rows);
  loss.row_margins = margins.data;
  if (!(loss.scale > 0) || loss.measure_margin < 0 || !(loss.angle_factor > 0) ||
      loss.angular_margin < 0 || loss.cosine_margin < 0) {
    throw argument_error(value.Env(), "loss", "a positive scale and margins >= 0", "others");
  }
  if (!(loss.smoothing >= 0 && loss.smoothing < 1) ||
      (loss.smoothing > 0 && !loss.order.is_softmax())) {
    throw argument_error(value.Env(), "labelSmoothing", "in [0, 1), and 0 unless alpha is 1",
                         shown(loss.smoothing));
  }
  return loss;
}

Optimizer read_optimizer(Napi::Value value) {
  const Napi::Object object = read_object(value, "optimizer");
  Optimizer optimizer;
  const std::string kind = object.Get("kind").ToString();
  if (kind != "sgd" && kind != "adagrad") {
    throw argument_error(value.Env(), "optimizer.kind", "'sgd' or 'adagrad'", kind);
  }
  optimizer.kind = kind == "sgd" ? OptimizerKind::kSgd : OptimizerKind::kAdagrad;
  optimizer.learning_rate = read_number(object, "learningRate");
  optimizer.momentum = read_number(object, "momentum");
  optimizer.weight_decay = read_number(object, "weightDecay");
  optimizer.epsilon = read_number(object, "epsilon");
  optimizer.initial_accumulator = read_number(object, "initialAccumulator");
  return optimizer;
}

StateArray read_state_array(Napi::Value value) {
  const std::string name = value.ToString();
  if (name == "prototypes") return StateArray::kPrototypes;
  if (name == "momentum") return StateArray::kMomentum;
  if (name == "accumulator") return StateArray::kAccumulator;
  throw argument_error(value.Env(), "state", "'prototypes', 'momentum' or 'accumulator'", name);
}

Napi::Value make_csr(Napi::Env env, const SparseRows& rows) {
  auto offsets = Napi::Int32Array::New(env, rows.row_offsets.size());
  auto columns = Napi::Int32Array::New(env, rows.columns.size());
  auto values = Napi::Float32Array::New(env, rows.values.size());
  const auto copy = [](void* target, const void* source, std::size_t bytes) {
    if (bytes != 0) std::memcpy(target, source, bytes);
  };
  copy(offsets.Data(), rows.row_offsets.data(), rows.row_offsets.size() * sizeof(std::int32_t));
  copy(columns.Data(), rows.columns.data(), rows.columns.size() * sizeof(std::int32_t));
  copy(values.Data(), rows.values.data(), rows.values.size() * sizeof(float));
  const Napi::Object result = Napi::Object::New(env);
  result.Set("rowOffsets", offsets);
  result.Set("columns", columns);
  result.Set("values", values);
  return result;
}

}  // namespace alphamargin::binding
