#include "cpu/kernel_set.h"

#include <cstdlib>
#include <cstring>

namespace alphamargin {
namespace {

struct Choice {
  const KernelSet& (*set)();
  bool (*usable)();
};

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
#endif

// Best first.
constexpr Choice kChoices[] = {
#if defined(__x86_64__)
    {avx512_vnni_kernel_set, has_avx512_vnni},
    {avx512_kernel_set, has_avx512},
    {avx2_kernel_set, has_avx2},
#elif defined(__aarch64__)
    {neon_kernel_set, always},
#endif
    {portable_kernel_set, always},
};

const KernelSet& choose() {
  const char* limit = std::getenv("ALPHAMARGIN_INSTRUCTION_SET");
  bool known = false;
  for (const Choice& choice : kChoices) {
    known = known || (limit != nullptr && std::strcmp(limit, choice.set().name) == 0);
  }
  bool allowed = !known;
  for (const Choice& choice : kChoices) {
    allowed = allowed || std::strcmp(limit, choice.set().name) == 0;
    if (allowed && choice.usable()) return choice.set();
  }
  return portable_kernel_set();
}

}  // namespace

const KernelSet& kernel_set() {
  static const KernelSet& chosen = choose();
  return chosen;
}

std::vector<const KernelSet*> usable_kernel_sets() {
  std::vector<const KernelSet*> sets;
  for (const Choice& choice : kChoices) {
    if (choice.usable()) sets.push_back(&choice.set());
  }
  return sets;
}

}  // namespace alphamargin
