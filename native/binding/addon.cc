#include <napi.h>

#include "binding/instance.h"

namespace {

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  using namespace alphamargin::binding;
  env.SetInstanceData(new Instance());
  export_scoring(env, exports);
  export_backend(env, exports);
  define_head(env);
  define_device_array(env, exports);
  export_emulation(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(alphamargin, initialise)
