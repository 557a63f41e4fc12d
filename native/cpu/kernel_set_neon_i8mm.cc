// The NEON kernels once more, with the flags of CMakeLists.txt for this file.
#include "cpu/kernel_set_neon.cc"
