#include "cpu/kernel_set.h"

#include <cstdlib>
#include <cstring>

#include "cpu/cpu_features.h"

namespace alphamargin {
namespace {

struct Choice {
  const KernelSet& (*set)();
  bool (*usable)();
};

bool always() { return true; }

#if defined(__x86_64__)
bool has_amx() {
  if (!cpu_has_avx512_vnni() || !cpu_has_tiles()) return false;
  static const bool may = may_use_tiles();
  return may;
}
#endif

// Best first.
constexpr Choice kChoices[] = {
#if defined(__x86_64__)
    {amx_kernel_set, has_amx},           {avx512_vnni_kernel_set, cpu_has_avx512_vnni},
    {avx512_kernel_set, cpu_has_avx512}, {avx2_vnni_kernel_set, cpu_has_avx_vnni},
    {avx2_kernel_set, cpu_has_avx2},
#elif defined(__aarch64__)
    {neon_i8mm_kernel_set, cpu_has_i8mm},
    {neon_dotprod_kernel_set, cpu_has_dotprod},
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

std::vector<const KernelSet*> known_kernel_sets() {
  std::vector<const KernelSet*> sets;
  for (const Choice& choice : kChoices) sets.push_back(&choice.set());
  return sets;
}

std::vector<const KernelSet*> usable_kernel_sets() {
  std::vector<const KernelSet*> sets;
  for (const Choice& choice : kChoices) {
    if (choice.usable()) sets.push_back(&choice.set());
  }
  return sets;
}

}  // namespace alphamargin
