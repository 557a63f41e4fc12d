// The AVX2 kernels once more, for processors that have VNNI without AVX-512.
#define ALPHAMARGIN_AVX_VNNI 1
#include "cpu/kernel_set_avx2.cc"
