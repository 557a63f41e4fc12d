// The AVX-512 kernels once more, with the flags of CMakeLists.txt for this file.
#include "cpu/kernel_set_avx512.cc"
