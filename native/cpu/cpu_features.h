#pragma once
// What the processor has and the system lets a process use, of what the kernel sets ask for.

#include <string>
#include <vector>

namespace alphamargin {

// Names of all of the following that it has.
std::vector<std::string> cpu_features();

#if defined(__x86_64__)
bool cpu_has_avx2();         // and fused multiply-add
bool cpu_has_avx_vnni();     // that, and products of bytes
bool cpu_has_avx512();       // F, BW, VL and DQ
bool cpu_has_avx512_vnni();  // that, and products of bytes
bool cpu_has_tiles();        // AMX for bytes
// Whether the system lends this process the registers of AMX. Asks it for them.
bool may_use_tiles();
#elif defined(__aarch64__)
bool cpu_has_dotprod();
bool cpu_has_i8mm();
#endif

}  // namespace alphamargin
