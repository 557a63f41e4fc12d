#pragma once
// One native call, split by thread: arguments are read on the JavaScript thread, `run` computes on
// any thread, `finish` makes the result on the JavaScript thread.

#include <napi.h>

#include <functional>
#include <memory>

#include "backend/backend.h"
#include "common/failure.h"

namespace alphamargin::binding {

struct Call {
  std::function<void(const Cancellation&)> run;
  std::function<Napi::Value(Napi::Env)> finish = [](Napi::Env env) { return env.Undefined(); };
};

using Reader = std::function<Call(const Napi::CallbackInfo&)>;

// The reader of a call on a backend.
inline Reader on_backend(Call (*read)(const Napi::CallbackInfo&, const std::shared_ptr<Backend>&),
                         const std::shared_ptr<Backend>& backend) {
  return [read, backend](const Napi::CallbackInfo& info) { return read(info, backend); };
}

// Runs the call on this thread.
Napi::Value run_now(const Napi::CallbackInfo& info, const Reader& read);

// Runs the call on a worker thread and returns a Promise. Every argument is referenced until the
// promise settles. The last argument, an Int32Array, is the cancellation flag (or null).
Napi::Value run_later(const Napi::CallbackInfo& info, const Reader& read);

// Adds `name` (a Promise) and `nameSync` to the exports.
void expose(Napi::Env env, Napi::Object exports, const char* name, Reader read);

// A JavaScript error with a code, for Failure and std::bad_alloc; call inside a catch block.
Napi::Error current_error(Napi::Env env);

}  // namespace alphamargin::binding
