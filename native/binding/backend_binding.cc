#include <algorithm>
#include <string>
#include <vector>

#include "binding/arguments.h"
#include "binding/instance.h"
#include "cpu/kernel_set.h"

namespace alphamargin::binding {
namespace {

std::vector<std::string> cpu_features() {
  std::vector<std::string> features;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) features.push_back("avx2");
  if (__builtin_cpu_supports("fma")) features.push_back("fma");
  if (__builtin_cpu_supports("avx512f")) features.push_back("avx512f");
  if (__builtin_cpu_supports("avx512vnni")) features.push_back("avx512vnni");
#elif defined(__aarch64__)
  features.push_back("neon");
#endif
  return features;
}

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
  const Napi::Object cuda = Napi::Object::New(env);
  cuda.Set("built", false);
  cuda.Set("devices", Napi::Array::New(env));
  cuda.Set("reason", "this build has no CUDA kernels");
  result.Set("cuda", cuda);
  return result;
}

Napi::Value memory(const Napi::CallbackInfo& info) {
  const Napi::Object result = Napi::Object::New(info.Env());
  result.Set("host", static_cast<double>(runtime_of(info.Env())->memory.current()));
  result.Set("device", 0);
  return result;
}

Napi::Value set_thread_count(const Napi::CallbackInfo& info) {
  constexpr std::size_t kMostThreads = 1024;
  const std::size_t count = read_size(info[0], "count", 1);
  runtime_of(info.Env())->pool.resize(std::min(count, kMostThreads));
  return info.Env().Undefined();
}

}  // namespace

void export_backend(Napi::Env env, Napi::Object exports) {
  exports.Set("backendInfo", Napi::Function::New(env, backend_info, "backendInfo"));
  exports.Set("memory", Napi::Function::New(env, memory, "memory"));
  exports.Set("setThreadCount", Napi::Function::New(env, set_thread_count, "setThreadCount"));
}

}  // namespace alphamargin::binding
