// Compiled with -mavx512f and friends; only called where the CPU has them.
#include <immintrin.h>

#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

#include "cpu/kernel_loops.inl"

// 12 × 32: 24 accumulators of the 32 registers.
constexpr std::size_t kRows = 12;
constexpr std::size_t kColumns = 32;

void multiply(std::size_t depth, const float* left, const float* right, float* tile) {
  __m512 sums[kRows][2];
  for (auto& row : sums) row[0] = row[1] = _mm512_setzero_ps();
  for (std::size_t k = 0; k < depth; ++k) {
    const __m512 low = _mm512_loadu_ps(right + k * kColumns);
    const __m512 high = _mm512_loadu_ps(right + k * kColumns + 16);
#pragma GCC unroll 12
    for (std::size_t i = 0; i < kRows; ++i) {
      const __m512 embedding = _mm512_set1_ps(left[k * kRows + i]);
      sums[i][0] = _mm512_fmadd_ps(embedding, low, sums[i][0]);
      sums[i][1] = _mm512_fmadd_ps(embedding, high, sums[i][1]);
    }
  }
#pragma GCC unroll 12
  for (std::size_t i = 0; i < kRows; ++i) {
    _mm512_storeu_ps(tile + i * kColumns, sums[i][0]);
    _mm512_storeu_ps(tile + i * kColumns + 16, sums[i][1]);
  }
}

bool select(const float* tile, const float* bounds, std::uint32_t* masks) {
  std::uint32_t any = 0;
  for (std::size_t i = 0; i < kRows; ++i) {
    const __m512 bound = _mm512_set1_ps(bounds[i]);
    const __mmask16 low =
        _mm512_cmp_ps_mask(_mm512_loadu_ps(tile + i * kColumns), bound, _CMP_GT_OQ);
    const __mmask16 high =
        _mm512_cmp_ps_mask(_mm512_loadu_ps(tile + i * kColumns + 16), bound, _CMP_GT_OQ);
    masks[i] = static_cast<std::uint32_t>(low) | static_cast<std::uint32_t>(high) << 16;
    any |= masks[i];
  }
  return any != 0;
}

constexpr KernelSet kSet = {"avx512", kRows,           kColumns,      multiply,
                            select,   interleave_rows, dot_in_double, accumulate_in_double};

}  // namespace

const KernelSet& avx512_kernel_set() { return kSet; }

}  // namespace alphamargin
