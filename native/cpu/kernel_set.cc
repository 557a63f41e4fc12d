#include "cpu/kernel_set.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace alphamargin {
namespace {

struct Choice {
  const KernelSet& (*set)();
  bool (*usable)();
};

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool has_avx2_vnni() { return has_avx2() && cpu_has_avx_vnni(); }

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }

// Linux lends a process the registers of AMX when it asks (5.16 and later), for all its threads.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_amx() {
  if (!has_avx512_vnni() || !cpu_has_tiles()) return false;
  static const bool may = may_use_tiles();
  return may;
}
#endif

// Best first.
constexpr Choice kChoices[] = {
#if defined(__x86_64__)
    {amx_kernel_set, has_amx},       {avx512_vnni_kernel_set, has_avx512_vnni},
    {avx512_kernel_set, has_avx512}, {avx2_vnni_kernel_set, has_avx2_vnni},
    {avx2_kernel_set, has_avx2},
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

#if defined(__x86_64__)
namespace {

// Of leaf 7, in the processor's own words: not every compiler knows the names.
struct Features {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  explicit Features(unsigned subleaf) {
    if (__get_cpuid_count(7, subleaf, &a, &b, &c, &d) == 0) a = b = c = d = 0;
  }
};

}  // namespace

bool cpu_has_avx_vnni() { return (Features(1).a >> 4 & 1) != 0; }
bool cpu_has_tiles() {
  constexpr unsigned kTilesAndBytes = 1u << 24 | 1u << 25;
  return (Features(0).d & kTilesAndBytes) == kTilesAndBytes;
}
#elif defined(__aarch64__)
// HWCAP_ASIMDDP and HWCAP2_I8MM, which older headers do not name.
bool cpu_has_dotprod() { return (getauxval(AT_HWCAP) >> 20 & 1) != 0; }
bool cpu_has_i8mm() { return (getauxval(AT_HWCAP2) >> 13 & 1) != 0; }
#endif

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
