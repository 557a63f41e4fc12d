// Compiled with -mavx2 -mfma; only called where the CPU has both.
#include <immintrin.h>

#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

#include "cpu/eight_doubles.inl"
#include "cpu/kernel_loops.inl"
#include "cpu/kernel_updates.inl"

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

void multiply_long(std::size_t depth, const float* left, const float* right, float* out,
                   std::size_t stride) {
  multiply_in_blocks<kRows, kColumns>(multiply, depth, left, right, out, stride);
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

void quantize(const float* values, float factor, std::size_t count, std::size_t stride,
              std::int16_t* out) {
  const __m256 scale = _mm256_set1_ps(factor);
  std::size_t k = 0;
  for (; k + kChunk <= count; k += kChunk) {
    const __m256i whole = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(values + k), scale));
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(out + k / kChunk * stride),
        _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1)));
  }
  if (k < count) quantize_chunk(values + k, factor, count - k, out + k / kChunk * stride);
}

// The sums of a tile over all chunks, in assembly: the compiler copies every accumulator in every
// turn. Meanwhile the group behind is brought into the first cache. `length`: elements of a group;
// `step`: bytes of the panel from a chunk to the next.
inline void multiply_tile(const std::int16_t* classes, std::size_t length,
                          const std::int16_t* panel, std::size_t step, __m256i (&sums)[4][2]) {
#define ALPHAMARGIN_CLEAR(sum) "vpxor %" #sum ", %" #sum ", %" #sum "\n"
#define ALPHAMARGIN_ROW(offset, low, high) \
  "vbroadcasti128 " #offset                \
  "(%[panel]), %%ymm10\n"                  \
  "vpmaddwd %%ymm10, %%ymm8, %%ymm11\n"    \
  "vpmaddwd %%ymm10, %%ymm9, %%ymm12\n"    \
  "vpaddd %%ymm11, %" #low ", %" #low      \
  "\n"                                     \
  "vpaddd %%ymm12, %" #high ", %" #high "\n"
  asm volatile(
      ALPHAMARGIN_CLEAR(0) ALPHAMARGIN_CLEAR(1)
      ALPHAMARGIN_CLEAR(2) ALPHAMARGIN_CLEAR(3)
      ALPHAMARGIN_CLEAR(4) ALPHAMARGIN_CLEAR(5)
      ALPHAMARGIN_CLEAR(6) ALPHAMARGIN_CLEAR(7)
      ".p2align 5\n"
      "1:\n"
      "vmovdqa (%[classes]), %%ymm8\n"
      "vmovdqa 32(%[classes]), %%ymm9\n"
      "prefetcht0 (%[classes],%[behind])\n"
      ALPHAMARGIN_ROW(0, 0, 1)
      ALPHAMARGIN_ROW(16, 2, 3)
      ALPHAMARGIN_ROW(32, 4, 5)
      ALPHAMARGIN_ROW(48, 6, 7)
      "add $64, %[classes]\n"
      "add %[step], %[panel]\n"
      "cmp %[end], %[classes]\n"
      "jne 1b\n"
      : "=&x"(sums[0][0]), "=&x"(sums[0][1]), "=&x"(sums[1][0]), "=&x"(sums[1][1]),
        "=&x"(sums[2][0]), "=&x"(sums[2][1]), "=&x"(sums[3][0]), "=&x"(sums[3][1]),
        [classes] "+r"(classes), [panel] "+r"(panel)
      : [step] "r"(step), [behind] "r"(length * sizeof(std::int16_t)), [end] "r"(classes + length)
      : "memory", "cc", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12");
#undef ALPHAMARGIN_ROW
#undef ALPHAMARGIN_CLEAR
}

// Four rows with one group: eight accumulators of 2 classes × 4 partial sums each.
inline std::size_t filter_tile(const FilterBlock& block, std::size_t row, std::size_t group,
                               FilterHit* hits) {
  constexpr std::size_t kTileRows = 4;
  const std::size_t length = block.chunks * kGroup * kChunk;
  __m256i sums[kTileRows][2];
  multiply_tile(block.groups + group * length, length, block.panel + row * kChunk,
                block.rows * kChunk * sizeof(std::int16_t), sums);
  // Four partial sums each to one: half a vector is then a class with its four rows.
  const __m128i bounds = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block.bounds + row));
  const __m256i both = _mm256_broadcastsi128_si256(bounds);
  std::uint32_t mask = 0;
  alignas(32) std::int32_t totals[kGroup * kTileRows];
#pragma GCC unroll 2
  for (std::size_t half = 0; half < 2; ++half) {
    const __m256i first = _mm256_hadd_epi32(sums[0][half], sums[1][half]);
    const __m256i second = _mm256_hadd_epi32(sums[2][half], sums[3][half]);
    const __m256i total = _mm256_hadd_epi32(first, second);
    _mm256_store_si256(reinterpret_cast<__m256i*>(totals + half * 8), total);
    mask |= static_cast<std::uint32_t>(
                _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(total, both))))
            << (8 * half);
  }
  return append_hits(mask, kTileRows, static_cast<std::uint32_t>(group * kGroup),
                     static_cast<std::uint32_t>(row), totals, hits);
}

std::size_t filter(const FilterBlock& block, FilterHit* hits) {
  std::size_t found = 0;
  for (std::size_t group = 0; group < block.group_count; ++group) {
    for (std::size_t row = 0; row < block.rows; row += 4) {
      found += filter_tile(block, row, group, hits + found);
    }
  }
  return found;
}

constexpr KernelSet kSet = {
    .name = "avx2",
    .tile_rows = kRows,
    .tile_columns = kColumns,
    .multiply = multiply,
    .multiply_long = multiply_long,
    .select = select,
    .interleave = interleave_rows,
    .copy_columns = copy_columns,
    .dot = dot_in_double,
    .dot_wide = dot_wide,
    .accumulate = accumulate_in_double,
    .accumulate_rows = accumulate_rows,
    .quantize = quantize,
    .filter = filter,
    .exp_sum = exp_sum,
    .exp_coefficients = exp_coefficients,
    .keep_above = keep_above,
    .largest = largest,
    .threshold_sums = sums_above,
    .class_gradient = class_gradient,
    .class_step = class_step,
    .descend = descend,
};

}  // namespace

const KernelSet& avx2_kernel_set() { return kSet; }

}  // namespace alphamargin
