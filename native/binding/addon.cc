#include <napi.h>

#include "binding/instance.h"

namespace {

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  using namespace alphamargin::binding;
  env.SetInstanceData(new Instance());
  export_posterior(env, exports);
  export_loss(env, exports);
  export_scoring(env, exports);
  export_head(env, exports);
  export_backend(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(alphamargin, initialise)
