#pragma once
// What one loaded instance of the addon owns (one per worker thread that imports the package).

#include <napi.h>

#include <memory>

#include "backend/backend_registry.h"
#include "common/runtime.h"

namespace alphamargin::binding {

struct Instance {
  std::shared_ptr<Runtime> runtime = std::make_shared<Runtime>(1);
  BackendRegistry backends{runtime};
  Napi::FunctionReference head;          // the class behind makeHead
  Napi::FunctionReference device_array;  // the class of device arrays
};

inline std::shared_ptr<Runtime> runtime_of(Napi::Env env) {
  return env.GetInstanceData<Instance>()->runtime;
}

using SharedBackend = std::shared_ptr<Backend>;

// Each part of the surface registers itself: what does not depend on a device with the addon …
void export_scoring(Napi::Env env, Napi::Object exports);
void export_backend(Napi::Env env, Napi::Object exports);
void define_head(Napi::Env env);
void define_device_array(Napi::Env env, Napi::Object exports);
void export_emulation(Napi::Env env, Napi::Object exports);
// … and what does with the object of its backend.
void export_posterior(Napi::Env env, Napi::Object target, const SharedBackend& backend);
void export_loss(Napi::Env env, Napi::Object target, const SharedBackend& backend);
void export_head(Napi::Env env, Napi::Object target, const SharedBackend& backend);
void export_device_array(Napi::Env env, Napi::Object target, const SharedBackend& backend);

}  // namespace alphamargin::binding
