#include "cpu/kernel_set.h"

#include <cstdlib>
#include <cstring>

namespace alphamargin {
namespace {

struct Choice {
  const KernelSet& (*set)();
  bool usable;
};

#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

const KernelSet& choose() {
  // Best first.
  const Choice choices[] = {
#if defined(__x86_64__)
      {avx512_vnni_kernel_set, has_avx512() && __builtin_cpu_supports("avx512vnni")},
      {avx512_kernel_set, has_avx512()},
      {avx2_kernel_set, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
#endif
      {portable_kernel_set, true},
  };
  const char* limit = std::getenv("ALPHAMARGIN_INSTRUCTION_SET");
  bool known = false;
  for (const Choice& choice : choices) {
    known = known || (limit != nullptr && std::strcmp(limit, choice.set().name) == 0);
  }
  bool allowed = !known;
  for (const Choice& choice : choices) {
    allowed = allowed || std::strcmp(limit, choice.set().name) == 0;
    if (allowed && choice.usable) return choice.set();
  }
  return portable_kernel_set();
}

}  // namespace

const KernelSet& kernel_set() {
  static const KernelSet& chosen = choose();
  return chosen;
}

}  // namespace alphamargin
