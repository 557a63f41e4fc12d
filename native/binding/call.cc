#include "binding/call.h"

#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "binding/device_array.h"

namespace alphamargin::binding {
namespace {

// What went wrong. Without memory for a message of its own it has the fixed one.
struct Problem {
  const char* code = "ERR_OUT_OF_MEMORY";
  const char* fixed = "host memory could not be allocated";
  std::string message;
  const char* text() const { return message.empty() ? fixed : message.c_str(); }
};

Problem describe_current() {
  try {
    throw;
  } catch (const Failure& failure) {
    return {code_name(failure.code()), "", failure.what()};
  } catch (const std::bad_alloc&) {
    return {};
  } catch (const std::length_error&) {
    return {"ERR_OUT_OF_MEMORY", "an array would exceed the address space", {}};
  } catch (const std::exception& error) {
    return {"ERR_INVALID_ARGUMENT", "", error.what()};
  }
}

Problem current_problem() noexcept {
  try {
    return describe_current();
  } catch (...) {
    return {};  // no memory to say what it was
  }
}

Napi::Error make_error(Napi::Env env, const Problem& problem) {
  Napi::Error error = Napi::Error::New(env, problem.text());
  // As a napi_value: the overload for Napi::String makes a std::string, which needs memory.
  const napi_value code = Napi::String::New(env, problem.code);
  error.Value().Set("code", code);
  return error;
}

class PromiseWorker : public Napi::AsyncWorker {
 public:
  PromiseWorker(const Napi::CallbackInfo& info, Call call)
      : Napi::AsyncWorker(info.Env()),
        call_(std::move(call)),
        deferred_(Napi::Promise::Deferred::New(info.Env())) {
    for (std::size_t i = 0; i < info.Length(); ++i) {
      if (!info[i].IsObject()) continue;
      arguments_.push_back(Napi::Persistent(info[i].As<Napi::Object>()));
      // A device array that is disposed while the call runs stays until it has ended.
      if (auto array = device_array_of(info[i])) arrays_.push_back(std::move(array));
    }
    if (info.This().IsObject()) {
      arguments_.push_back(Napi::Persistent(info.This().As<Napi::Object>()));
    }
    const Napi::Value last = info.Length() == 0 ? info.Env().Null() : info[info.Length() - 1];
    if (last.IsTypedArray() && last.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array &&
        last.As<Napi::TypedArray>().ElementLength() == 1) {
      cancellation_ = Cancellation(last.As<Napi::Int32Array>().Data());
    }
  }

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    try {
      call_.run(cancellation_);
    } catch (...) {
      problem_ = current_problem();
      SetError("failed");  // short enough to need no memory
    }
  }

  void OnOK() override {
    Napi::HandleScope scope(Env());
    try {
      deferred_.Resolve(call_.finish(Env()));
    } catch (const Napi::Error& error) {
      deferred_.Reject(error.Value());
    } catch (...) {
      deferred_.Reject(make_error(Env(), current_problem()).Value());
    }
  }

  void OnError(const Napi::Error&) override {
    Napi::HandleScope scope(Env());
    deferred_.Reject(make_error(Env(), problem_).Value());
  }

 private:
  Call call_;
  Napi::Promise::Deferred deferred_;
  std::vector<Napi::ObjectReference> arguments_;
  std::vector<std::shared_ptr<DeviceArray>> arrays_;
  Cancellation cancellation_;
  Problem problem_;
};

}  // namespace

Napi::Error current_error(Napi::Env env) { return make_error(env, current_problem()); }

Napi::Value run_now(const Napi::CallbackInfo& info, const Reader& read) {
  try {
    Call call = read(info);
    call.run(Cancellation());
    return call.finish(info.Env());
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw current_error(info.Env());
  }
}

Napi::Value run_later(const Napi::CallbackInfo& info, const Reader& read) {
  try {
    // The worker deletes itself after it has settled the promise.
    auto* worker = new PromiseWorker(info, read(info));
    worker->Queue();
    return worker->promise();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw current_error(info.Env());
  }
}

void expose(Napi::Env env, Napi::Object exports, const char* name, Reader read) {
  const std::string sync_name = std::string(name) + "Sync";
  exports.Set(
      name,
      Napi::Function::New(
          env, [read](const Napi::CallbackInfo& info) { return run_later(info, read); }, name));
  exports.Set(
      sync_name,
      Napi::Function::New(
          env, [read](const Napi::CallbackInfo& info) { return run_now(info, read); }, sync_name));
}

}  // namespace alphamargin::binding
