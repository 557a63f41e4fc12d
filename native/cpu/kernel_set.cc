#include "cpu/kernel_set.h"

#include <cstdlib>
#include <cstring>

namespace alphamargin {

const KernelSet& kernel_set() {
#if defined(__x86_64__)
  static const KernelSet& chosen = []() -> const KernelSet& {
    const char* limit = std::getenv("ALPHAMARGIN_INSTRUCTION_SET");
    const auto allowed = [limit](const char* name) {
      return limit == nullptr || std::strcmp(limit, name) == 0;
    };
    if (allowed("avx512") && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
      return avx512_kernel_set();
    }
    if ((allowed("avx2") || allowed("avx512")) && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma")) {
      return avx2_kernel_set();
    }
    return portable_kernel_set();
  }();
  return chosen;
#else
  return portable_kernel_set();
#endif
}

}  // namespace alphamargin
