// Compiled with -mavx2 -mfma; only called where the CPU has both.
#include <immintrin.h>

#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

#include "cpu/kernel_loops.inl"

// 6 × 16: twelve accumulators, two prototype vectors and one broadcast fill the 16 registers.
constexpr std::size_t kRows = 6;
constexpr std::size_t kColumns = 16;

void multiply(std::size_t depth, const float* left, const float* right, float* tile) {
  __m256 sums[kRows][2];
  for (auto& row : sums) row[0] = row[1] = _mm256_setzero_ps();
  for (std::size_t k = 0; k < depth; ++k) {
    const __m256 low = _mm256_loadu_ps(right + k * kColumns);
    const __m256 high = _mm256_loadu_ps(right + k * kColumns + 8);
#pragma GCC unroll 6
    for (std::size_t i = 0; i < kRows; ++i) {
      const __m256 embedding = _mm256_broadcast_ss(left + k * kRows + i);
      sums[i][0] = _mm256_fmadd_ps(embedding, low, sums[i][0]);
      sums[i][1] = _mm256_fmadd_ps(embedding, high, sums[i][1]);
    }
  }
#pragma GCC unroll 6
  for (std::size_t i = 0; i < kRows; ++i) {
    _mm256_storeu_ps(tile + i * kColumns, sums[i][0]);
    _mm256_storeu_ps(tile + i * kColumns + 8, sums[i][1]);
  }
}

bool select(const float* tile, const float* bounds, std::uint32_t* masks) {
  std::uint32_t any = 0;
  for (std::size_t i = 0; i < kRows; ++i) {
    const __m256 bound = _mm256_broadcast_ss(bounds + i);
    const __m256 low = _mm256_cmp_ps(_mm256_loadu_ps(tile + i * kColumns), bound, _CMP_GT_OQ);
    const __m256 high = _mm256_cmp_ps(_mm256_loadu_ps(tile + i * kColumns + 8), bound, _CMP_GT_OQ);
    masks[i] = static_cast<std::uint32_t>(_mm256_movemask_ps(low)) |
               static_cast<std::uint32_t>(_mm256_movemask_ps(high)) << 8;
    any |= masks[i];
  }
  return any != 0;
}

constexpr KernelSet kSet = {"avx2", kRows,           kColumns,      multiply,
                            select, interleave_rows, dot_in_double, accumulate_in_double};

}  // namespace

const KernelSet& avx2_kernel_set() { return kSet; }

}  // namespace alphamargin
