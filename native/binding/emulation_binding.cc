#include "binding/arguments.h"
#include "binding/instance.h"
#if defined(ALPHAMARGIN_WITH_EMULATION)
#include "emulation/runtime_api.h"
#endif

namespace alphamargin::binding {

#if defined(ALPHAMARGIN_WITH_EMULATION)
namespace {

std::size_t setting(const Napi::Object& object, const char* name, std::size_t previous) {
  const Napi::Value value = object.Get(name);
  return value.IsUndefined() ? previous : read_size(value, name);
}

// ({ seed?, memoryBytes?, computeCapability?, staleBounds?, interval? }) → the settings before
Napi::Value configure_emulation(const Napi::CallbackInfo& info) {
  const emulated::DeviceSettings previous = emulated::device_settings();
  if (!info[0].IsObject()) {
    throw argument_error(info.Env(), "settings", "an object", "something else");
  }
  const auto wanted = info[0].As<Napi::Object>();
  emulated::DeviceSettings settings = previous;
  settings.seed = setting(wanted, "seed", settings.seed);
  settings.memory_bytes = setting(wanted, "memoryBytes", settings.memory_bytes);
  settings.compute_capability = static_cast<int>(
      setting(wanted, "computeCapability", static_cast<std::size_t>(settings.compute_capability)));
  settings.stale_bounds = setting(wanted, "staleBounds", settings.stale_bounds ? 1 : 0) != 0;
  settings.interval = setting(wanted, "interval", settings.interval);
  emulated::configure_device(settings);
  const Napi::Object result = Napi::Object::New(info.Env());
  result.Set("seed", static_cast<double>(previous.seed));
  result.Set("memoryBytes", static_cast<double>(previous.memory_bytes));
  result.Set("computeCapability", previous.compute_capability);
  result.Set("staleBounds", previous.stale_bounds ? 1 : 0);
  result.Set("interval", static_cast<double>(previous.interval));
  return result;
}

}  // namespace

void export_emulation(Napi::Env env, Napi::Object exports) {
  exports.Set("configureEmulation",
              Napi::Function::New(env, configure_emulation, "configureEmulation"));
}
#else
void export_emulation(Napi::Env, Napi::Object) {}
#endif

}  // namespace alphamargin::binding
