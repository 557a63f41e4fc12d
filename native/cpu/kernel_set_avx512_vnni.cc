// The AVX-512 kernels once more, for processors that have VNNI besides. (Not by what the compiler
// says it may use: with flags for one processor, that is the same in every file.)
#define ALPHAMARGIN_AVX512_VNNI 1
#include "cpu/kernel_set_avx512.cc"
