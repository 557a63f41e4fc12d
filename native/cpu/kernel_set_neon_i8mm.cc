// The NEON kernels once more, with the flags of CMakeLists.txt for this file.
#define ALPHAMARGIN_NEON_I8MM 1
#include "cpu/kernel_set_neon.cc"
