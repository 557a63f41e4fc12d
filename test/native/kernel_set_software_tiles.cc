// The kernels of kernel_set_amx.cc on tiles in software: all of them but the instructions, on every
// processor with AVX-512 and VNNI.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define ALPHAMARGIN_SOFTWARE_TILES "../test/native/software_tiles.inl"
#include "cpu/kernel_set_amx.cc"
#include "kernel_sets_cases.h"

namespace alphamargin {

const KernelSet& software_tiles_kernel_set() {
  static const KernelSet set = [] {
    KernelSet made = with_tiles();
    made.name = "amx in software";
    return made;
  }();
  return set;
}

}  // namespace alphamargin
