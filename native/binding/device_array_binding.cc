#include <string>
#include <utility>

#include "binding/arguments.h"
#include "binding/call.h"
#include "binding/device_array.h"
#include "binding/instance.h"

namespace alphamargin::binding {
namespace {

// What the constructor is handed by native code.
struct Made {
  SharedBackend backend;
  std::shared_ptr<DeviceArray> array;
  bool is_half;
};

class DeviceArrayBinding : public Napi::ObjectWrap<DeviceArrayBinding> {
 public:
  explicit DeviceArrayBinding(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<DeviceArrayBinding>(info) {
    if (!info[0].IsExternal()) {
      throw Napi::TypeError::New(info.Env(), "device arrays are made by upload and allocate");
    }
    made_ = *info[0].As<Napi::External<Made>>().Data();
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "DeviceArray",
                       {InstanceMethod<&DeviceArrayBinding::download>("download"),
                        InstanceMethod<&DeviceArrayBinding::download_now>("downloadSync"),
                        InstanceMethod<&DeviceArrayBinding::dispose>("dispose")});
  }

  const Made& made() const { return made_; }

 private:
  // (typed array of the same number of bytes)
  Call read_download(const Napi::CallbackInfo& info) const {
    if (!made_.array) throw disposed();
    if (!info[0].IsTypedArray()) {
      throw argument_error(info.Env(), "data", "a typed array", "something else");
    }
    const auto target = info[0].As<Napi::TypedArray>();
    require_length(info.Env(), "data", target.ByteLength(), made_.array->bytes());
    auto* bytes = static_cast<std::uint8_t*>(target.ArrayBuffer().Data()) + target.ByteOffset();
    return {[backend = made_.backend, array = made_.array, bytes](const Cancellation&) {
      backend->download(*array, bytes);
    }};
  }

  Napi::Value download(const Napi::CallbackInfo& info) {
    return run_later(info, [this](const Napi::CallbackInfo& i) { return read_download(i); });
  }
  Napi::Value download_now(const Napi::CallbackInfo& info) {
    return run_now(info, [this](const Napi::CallbackInfo& i) { return read_download(i); });
  }
  Napi::Value dispose(const Napi::CallbackInfo& info) {
    made_.array.reset();
    return info.Env().Undefined();
  }

 public:
  static Failure disposed() {
    return Failure(FailureCode::kDisposed, "the device tensor was disposed");
  }

 private:
  Made made_;
};

const DeviceArrayBinding* unwrap(Napi::Value value) {
  if (!value.IsObject()) return nullptr;
  const auto object = value.As<Napi::Object>();
  const Napi::Function definition = value.Env().GetInstanceData<Instance>()->device_array.Value();
  if (!object.InstanceOf(definition)) return nullptr;
  return DeviceArrayBinding::Unwrap(object);
}

Napi::Value make_object(Napi::Env env, Made made) {
  return env.GetInstanceData<Instance>()->device_array.New({Napi::External<Made>::New(env, &made)});
}

// (typed array)
Call read_upload(const Napi::CallbackInfo& info, const SharedBackend& backend) {
  const RealMatrix values = read_matrix(info[0], "data", 1);
  auto array = std::make_shared<std::shared_ptr<DeviceArray>>();
  return {[=](const Cancellation&) {
            *array = backend->allocate(values.bytes());
            if (values.bytes() > 0) backend->upload(values.data(), **array);
          },
          [=](Napi::Env env) { return make_object(env, {backend, *array, values.is_half()}); }};
}

// (number of float32 elements)
Call read_allocate(const Napi::CallbackInfo& info, const SharedBackend& backend) {
  const std::size_t count = read_size(info[0], "count");
  auto array = std::make_shared<std::shared_ptr<DeviceArray>>();
  return {[=](const Cancellation&) { *array = backend->allocate(count * sizeof(float)); },
          [=](Napi::Env env) { return make_object(env, {backend, *array, false}); }};
}

}  // namespace

std::shared_ptr<DeviceArray> device_array_of(Napi::Value value) {
  const DeviceArrayBinding* binding = unwrap(value);
  if (binding == nullptr) return nullptr;
  if (!binding->made().array) throw DeviceArrayBinding::disposed();
  return binding->made().array;
}

std::shared_ptr<DeviceArray> device_array_on(Napi::Value value, const char* argument,
                                             const Backend& backend, bool& is_half) {
  std::shared_ptr<DeviceArray> array = device_array_of(value);
  if (!array) return nullptr;
  const Made& made = unwrap(value)->made();
  if (made.backend->name() != backend.name()) {
    throw Failure(FailureCode::kDevice, "expected " + std::string(argument) + " on " +
                                            backend.name() + " but it lies on " +
                                            made.backend->name());
  }
  is_half = made.is_half;
  return array;
}

void define_device_array(Napi::Env env, Napi::Object exports) {
  const Napi::Function definition = DeviceArrayBinding::define(env);
  env.GetInstanceData<Instance>()->device_array = Napi::Persistent(definition);
  exports.Set("DeviceArray", definition);
}

void export_device_array(Napi::Env env, Napi::Object target, const SharedBackend& backend) {
  expose(env, target, "upload", on_backend(read_upload, backend));
  expose(env, target, "allocate", on_backend(read_allocate, backend));
}

}  // namespace alphamargin::binding
