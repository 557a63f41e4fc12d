#pragma once
// What one loaded instance of the addon owns (one per worker thread that imports the package).

#include <napi.h>

#include <memory>

#include "common/runtime.h"

namespace alphamargin::binding {

struct Instance {
  std::shared_ptr<Runtime> runtime = std::make_shared<Runtime>(1);
};

inline std::shared_ptr<Runtime> runtime_of(Napi::Env env) {
  return env.GetInstanceData<Instance>()->runtime;
}

// Each part of the surface registers itself.
void export_posterior(Napi::Env env, Napi::Object exports);
void export_loss(Napi::Env env, Napi::Object exports);
void export_scoring(Napi::Env env, Napi::Object exports);
void export_head(Napi::Env env, Napi::Object exports);
void export_backend(Napi::Env env, Napi::Object exports);

}  // namespace alphamargin::binding
