// Compiled with -mavx2 -mfma; only called where the CPU has both.
#include <immintrin.h>

#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

#include "cpu/eight_doubles.inl"
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

void multiply_long(std::size_t depth, const float* left, const float* right, float* tile) {
  multiply_in_blocks<kRows * kColumns>(multiply, kRows, kColumns, depth, left, right, tile);
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

// Four rows with one group: eight accumulators of 2 classes × 4 partial sums each.
inline std::size_t filter_tile(const FilterBlock& block, std::size_t row, std::size_t group,
                               FilterHit* hits) {
  constexpr std::size_t kTileRows = 4;
  const std::int16_t* panel = block.panel + row * kChunk;
  const std::int16_t* classes = block.groups + group * block.chunks * kGroup * kChunk;
  __m256i sums[kTileRows][2];
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kTileRows; ++i) sums[i][0] = sums[i][1] = _mm256_setzero_si256();
  for (std::size_t chunk = 0; chunk < block.chunks; ++chunk) {
    const __m256i low =
        _mm256_load_si256(reinterpret_cast<const __m256i*>(classes + chunk * kGroup * kChunk));
    const __m256i high = _mm256_load_si256(
        reinterpret_cast<const __m256i*>(classes + chunk * kGroup * kChunk + 2 * kChunk));
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kTileRows; ++i) {
      const __m256i embedding = _mm256_broadcastsi128_si256(_mm_load_si128(
          reinterpret_cast<const __m128i*>(panel + (chunk * block.rows + i) * kChunk)));
      sums[i][0] = _mm256_add_epi32(sums[i][0], _mm256_madd_epi16(low, embedding));
      sums[i][1] = _mm256_add_epi32(sums[i][1], _mm256_madd_epi16(high, embedding));
    }
  }
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
