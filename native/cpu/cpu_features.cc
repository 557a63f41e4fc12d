#include "cpu/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__linux__) && defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__APPLE__) && defined(__aarch64__)
#include <sys/sysctl.h>

#include <cstddef>
#endif

namespace alphamargin {

#if defined(__x86_64__)
namespace {

// In the processor's own words: not every compiler knows the names, nor brings what asks for them.
struct Leaf {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  explicit Leaf(unsigned leaf, unsigned subleaf = 0) {
    if (__get_cpuid_count(leaf, subleaf, &a, &b, &c, &d) == 0) a = b = c = d = 0;
  }
};

bool has_all(unsigned word, unsigned bits) { return (word & bits) == bits; }

// Whether the system saves these parts of a thread's registers when it runs another one.
bool system_saves(unsigned parts) {
  constexpr unsigned kSaves = 1u << 27;
  if (!has_all(Leaf(1).c, kSaves)) return false;
  unsigned low = 0;
  unsigned high = 0;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return has_all(low, parts);
}

constexpr unsigned kYmm = 0x6;   // SSE and AVX
constexpr unsigned kZmm = 0xe6;  // masks and both parts of the wide registers besides

}  // namespace

bool cpu_has_avx2() {
  constexpr unsigned kFma = 1u << 12;
  constexpr unsigned kAvx2 = 1u << 5;
  return has_all(Leaf(1).c, kFma) && has_all(Leaf(7).b, kAvx2) && system_saves(kYmm);
}

bool cpu_has_avx512() {
  constexpr unsigned kFoundation = 1u << 16;
  constexpr unsigned kLongsAndBytesAndLengths = 1u << 17 | 1u << 30 | 1u << 31;
  return has_all(Leaf(7).b, kFoundation | kLongsAndBytesAndLengths) && system_saves(kZmm);
}

bool cpu_has_avx_vnni() {
  constexpr unsigned kAvxVnni = 1u << 4;
  return has_all(Leaf(7, 1).a, kAvxVnni) && cpu_has_avx2();
}

bool cpu_has_avx512_vnni() {
  constexpr unsigned kVnni = 1u << 11;
  return has_all(Leaf(7).c, kVnni) && cpu_has_avx512();
}

bool cpu_has_tiles() {
  constexpr unsigned kTilesAndBytes = 1u << 24 | 1u << 25;
  return has_all(Leaf(7).d, kTilesAndBytes);
}

#if defined(__linux__)
// To a process that asks, for all its threads (5.16 and later).
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#else
// Other systems lend them to each thread in ways of their own.
bool may_use_tiles() { return false; }
#endif

#elif defined(__aarch64__) && defined(__linux__)
// HWCAP_ASIMDDP and HWCAP2_I8MM, which older headers do not name.
bool cpu_has_dotprod() { return (getauxval(AT_HWCAP) >> 20 & 1) != 0; }
bool cpu_has_i8mm() { return (getauxval(AT_HWCAP2) >> 13 & 1) != 0; }
#elif defined(__aarch64__) && defined(__APPLE__)
namespace {

// Systems older than a name do not know it: no.
bool system_says(const char* name) {
  int value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}

}  // namespace

bool cpu_has_dotprod() { return system_says("hw.optional.arm.FEAT_DotProd"); }
bool cpu_has_i8mm() { return system_says("hw.optional.arm.FEAT_I8MM"); }
#elif defined(__aarch64__)
bool cpu_has_dotprod() { return false; }
bool cpu_has_i8mm() { return false; }
#endif

std::vector<std::string> cpu_features() {
  std::vector<std::string> features;
#if defined(__x86_64__)
  if (cpu_has_avx2()) features.insert(features.end(), {"avx2", "fma"});
  if (cpu_has_avx_vnni()) features.push_back("avx-vnni");
  if (cpu_has_avx512()) features.push_back("avx512f");
  if (cpu_has_avx512_vnni()) features.push_back("avx512vnni");
  if (cpu_has_tiles()) features.push_back("amx-int8");
#elif defined(__aarch64__)
  features.push_back("neon");
  if (cpu_has_dotprod()) features.push_back("dotprod");
  if (cpu_has_i8mm()) features.push_back("i8mm");
#endif
  return features;
}

}  // namespace alphamargin
