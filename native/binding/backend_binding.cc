#include <algorithm>
#include <string>
#include <vector>

#include "binding/arguments.h"
#include "binding/call.h"
#include "binding/instance.h"
#include "cpu/cpu_features.h"
#include "cpu/kernel_set.h"

namespace alphamargin::binding {
namespace {

Napi::Value backend_info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object result = Napi::Object::New(env);
  result.Set("version", ALPHAMARGIN_VERSION);
  result.Set("compiler", __VERSION__);
  result.Set("instructionSet", kernel_set().name);
  const auto features = cpu_features();
  const Napi::Array names = Napi::Array::New(env, features.size());
  for (std::uint32_t i = 0; i < features.size(); ++i) names.Set(i, features[i]);
  result.Set("cpuFeatures", names);
  result.Set("threads", static_cast<double>(runtime_of(env)->pool.size()));
  const CudaSurvey& survey = env.GetInstanceData<Instance>()->backends.survey();
  const Napi::Object cuda = Napi::Object::New(env);
  cuda.Set("built", kHasCuda);
  cuda.Set("runtime", survey.runtime);
  cuda.Set("driver", survey.driver);
  const Napi::Array devices = Napi::Array::New(env, survey.devices.size());
  for (std::uint32_t i = 0; i < survey.devices.size(); ++i) {
    const CudaDevice& found = survey.devices[i];
    const Napi::Object device = Napi::Object::New(env);
    device.Set("name", found.name);
    device.Set("memory", static_cast<double>(found.memory_bytes));
    device.Set("computeCapability",
               std::to_string(found.major) + "." + std::to_string(found.minor));
    device.Set("reason", found.reason);
    devices.Set(i, device);
  }
  cuda.Set("devices", devices);
  cuda.Set("reason", survey.reason);
  result.Set("emulation", kHasEmulation);
  result.Set("cuda", cuda);
  return result;
}

Napi::Value memory(const Napi::CallbackInfo& info) {
  const Napi::Object result = Napi::Object::New(info.Env());
  result.Set("host", static_cast<double>(runtime_of(info.Env())->memory.current()));
  const Instance& instance = *info.Env().GetInstanceData<Instance>();
  result.Set("device", static_cast<double>(instance.backends.device_bytes()));
  return result;
}

Napi::Value set_thread_count(const Napi::CallbackInfo& info) {
  constexpr std::size_t kMostThreads = 1024;
  const std::size_t count = read_size(info[0], "count", 1);
  runtime_of(info.Env())->pool.resize(std::min(count, kMostThreads));
  return info.Env().Undefined();
}

// (device) → what that device can do
Napi::Value backend(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) throw argument_error(env, "device", "a string", "something else");
  try {
    const SharedBackend shared =
        env.GetInstanceData<Instance>()->backends.get(info[0].As<Napi::String>().Utf8Value());
    const Napi::Object result = Napi::Object::New(env);
    result.Set("name", shared->name());
    export_posterior(env, result, shared);
    export_loss(env, result, shared);
    export_head(env, result, shared);
    export_device_array(env, result, shared);
    return result;
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw current_error(env);
  }
}

}  // namespace

void export_backend(Napi::Env env, Napi::Object exports) {
  exports.Set("backendInfo", Napi::Function::New(env, backend_info, "backendInfo"));
  exports.Set("backend", Napi::Function::New(env, backend, "backend"));
  exports.Set("memory", Napi::Function::New(env, memory, "memory"));
  const auto sets = known_kernel_sets();
  const Napi::Array names = Napi::Array::New(env, sets.size());
  for (std::uint32_t i = 0; i < sets.size(); ++i) names.Set(i, sets[i]->name);
  exports.Set("instructionSets", names);
  exports.Set("setThreadCount", Napi::Function::New(env, set_thread_count, "setThreadCount"));
}

}  // namespace alphamargin::binding
