// Compiled twice, with -mavx2 -mfma: as it is, and with ALPHAMARGIN_AVX_VNNI, whose multiply-add of
// bytes makes three instructions of the filter one. Only called where the CPU has them.
#include <immintrin.h>

// eight_doubles.inl may use the intrinsics.
#define ALPHAMARGIN_X86 1

#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

#include "cpu/eight_doubles.inl"
#include "cpu/kernel_loops.inl"
#include "cpu/kernel_updates.inl"

// 6 × 16: twelve accumulators, two prototype vectors and one broadcast fill the 16 registers.
constexpr std::size_t kRows = 6;
constexpr std::size_t kColumns = 16;

#ifdef ALPHAMARGIN_AVX_VNNI
constexpr const char* kName = "avx2-vnni";
constexpr int kEmbeddingLevels = 127;
#else
constexpr const char* kName = "avx2";
// vpmaddubsw adds two products of an unsigned byte in 16 bits: 2·255·64 < 2^15.
constexpr int kEmbeddingLevels = 64;
#endif

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

Rounding quantize(const float* values, float factor, std::size_t count, std::size_t stride,
                  std::uint8_t zero, std::uint8_t* out) {
  const __m256 scale = _mm256_set1_ps(factor);
  const __m128i flip = _mm_set1_epi8(static_cast<char>(zero));
  __m256 squares = _mm256_setzero_ps();
  __m256i sums = _mm256_setzero_si256();
  // Eight elements as 16-bit numbers.
  const auto round = [&](const float* eight) {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(eight), scale);
    const __m256i whole = _mm256_cvtps_epi32(scaled);
    const __m256 rest = _mm256_sub_ps(scaled, _mm256_cvtepi32_ps(whole));
    squares = _mm256_fmadd_ps(rest, rest, squares);
    sums = _mm256_add_epi32(sums, whole);
    return _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  };
  std::size_t k = 0;
  for (; k + kChunk <= count; k += kChunk) {
    const __m128i low = round(values + k);
    const __m128i high = round(values + k + 8);
    // Adding 128 to a byte is turning its highest bit.
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + k / kChunk * stride),
                     _mm_xor_si128(_mm_packs_epi16(low, high), flip));
  }
  Rounding rounding;
  alignas(32) float square_lanes[8];
  alignas(32) std::int32_t sum_lanes[8];
  _mm256_store_ps(square_lanes, squares);
  _mm256_store_si256(reinterpret_cast<__m256i*>(sum_lanes), sums);
  for (std::size_t lane = 0; lane < 8; ++lane) {
    rounding.squares += square_lanes[lane];
    rounding.sum += sum_lanes[lane];
  }
  if (k < count) {
    quantize_chunk(values + k, factor, count - k, zero, out + k / kChunk * stride, rounding);
  }
  return rounding;
}

// The sums of a tile over all chunks, in assembly: the compiler copies every accumulator in every
// turn. Meanwhile the group behind is brought into the first cache, and a row of float32 elements
// into the second. `length`: bytes of a group; `step`: bytes of the panel from a chunk to the next.
inline void multiply_tile(const std::uint8_t* classes, std::size_t length, const std::int8_t* panel,
                          std::size_t step, const float* ahead, __m256i (&sums)[4][2]) {
#define ALPHAMARGIN_CLEAR(sum) "vpxor %%ymm" #sum ", %%ymm" #sum ", %%ymm" #sum "\n"
#define ALPHAMARGIN_STORE(sum) "vmovdqa %%ymm" #sum ", 32*" #sum "(%[sums])\n"
#ifdef ALPHAMARGIN_AVX_VNNI
// {vex} vpdpbusd %ymm10, %ymm8 (or %ymm9), %ymm`sum`: in bytes, for assemblers older than it.
#define ALPHAMARGIN_ADD(sum, classes) \
  ".byte 0xc4, 0xc2, 0x" #classes ", 0x50, 0xc2 + 8 * " #sum "\n"
#define ALPHAMARGIN_PRODUCTS(low, high) ALPHAMARGIN_ADD(low, 3d) ALPHAMARGIN_ADD(high, 35)
#define ALPHAMARGIN_ONES ""
#else
#define ALPHAMARGIN_ONES "vpcmpeqw %%ymm13, %%ymm13, %%ymm13\n vpsrlw $15, %%ymm13, %%ymm13\n"
#define ALPHAMARGIN_PRODUCTS(low, high)       \
  "vpmaddubsw %%ymm10, %%ymm8, %%ymm11\n"     \
  "vpmaddubsw %%ymm10, %%ymm9, %%ymm12\n"     \
  "vpmaddwd %%ymm13, %%ymm11, %%ymm11\n"      \
  "vpmaddwd %%ymm13, %%ymm12, %%ymm12\n"      \
  "vpaddd %%ymm11, %%ymm" #low ", %%ymm" #low \
  "\n"                                        \
  "vpaddd %%ymm12, %%ymm" #high ", %%ymm" #high "\n"
#endif
#define ALPHAMARGIN_ROW(offset, low, high) \
  "vbroadcasti128 " #offset "(%[panel]), %%ymm10\n" ALPHAMARGIN_PRODUCTS(low, high)
  asm volatile(
      ALPHAMARGIN_CLEAR(0) ALPHAMARGIN_CLEAR(1)
      ALPHAMARGIN_CLEAR(2) ALPHAMARGIN_CLEAR(3)
      ALPHAMARGIN_CLEAR(4) ALPHAMARGIN_CLEAR(5)
      ALPHAMARGIN_CLEAR(6) ALPHAMARGIN_CLEAR(7)
      ALPHAMARGIN_ONES
      ".p2align 5\n"
      "1:\n"
      "vmovdqa (%[classes]), %%ymm8\n"
      "vmovdqa 32(%[classes]), %%ymm9\n"
      "prefetcht0 (%[classes],%[behind])\n"
      "prefetcht1 (%[ahead])\n"
      ALPHAMARGIN_ROW(0, 0, 1)
      ALPHAMARGIN_ROW(16, 2, 3)
      ALPHAMARGIN_ROW(32, 4, 5)
      ALPHAMARGIN_ROW(48, 6, 7)
      "add $64, %[ahead]\n"
      "add $64, %[classes]\n"
      "add %[step], %[panel]\n"
      "cmp %[end], %[classes]\n"
      "jne 1b\n"
      ALPHAMARGIN_STORE(0) ALPHAMARGIN_STORE(1)
      ALPHAMARGIN_STORE(2) ALPHAMARGIN_STORE(3)
      ALPHAMARGIN_STORE(4) ALPHAMARGIN_STORE(5)
      ALPHAMARGIN_STORE(6) ALPHAMARGIN_STORE(7)
      : [classes] "+r"(classes), [panel] "+r"(panel), [ahead] "+r"(ahead)
      : [step] "r"(step), [behind] "r"(length), [end] "r"(classes + length), [sums] "r"(&sums[0][0])
      : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
        "xmm9", "xmm10", "xmm11", "xmm12", "xmm13");
#undef ALPHAMARGIN_ROW
#undef ALPHAMARGIN_PRODUCTS
#undef ALPHAMARGIN_ONES
#undef ALPHAMARGIN_ADD
#undef ALPHAMARGIN_STORE
#undef ALPHAMARGIN_CLEAR
}

// Four rows with one group: eight accumulators of 2 classes × 4 partial sums each.
inline GroupMask filter_tile(const FilterBlock& block, std::size_t row, std::size_t group) {
  constexpr std::size_t kTileRows = 4;
  const std::size_t length = block.chunks * kGroup * kChunk;
  __m256i sums[kTileRows][2];
  // One row for three groups. A tile that has none asks for what it reads.
  const std::uint8_t* const classes = block.groups + group * length;
  const float* const ahead = row == 0 && group % kGroupsPerRow == 0
                                 ? block.ahead[group / kGroupsPerRow]
                                 : reinterpret_cast<const float*>(classes);
  multiply_tile(classes, length, block.panel + row * kChunk, block.rows * kChunk, ahead, sums);
  // Four partial sums each to one: half a vector is then a class with its four rows.
  const __m256i offset = _mm256_broadcastsi128_si256(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(block.offsets + row)));
  const __m256 lower = _mm256_broadcast_ps(reinterpret_cast<const __m128*>(block.lowers + row));
  const __m256 spread = _mm256_broadcast_ps(reinterpret_cast<const __m128*>(block.spreads + row));
  const float* scales = block.scales + group * 2 * kGroup;
  const auto two_of = [](const float* two) {
    return _mm256_set_m128(_mm_set1_ps(two[1]), _mm_set1_ps(two[0]));
  };
  GroupMask mask = 0;
#pragma GCC unroll 2
  for (std::size_t half = 0; half < 2; ++half) {
    const __m256i first = _mm256_hadd_epi32(sums[0][half], sums[1][half]);
    const __m256i second = _mm256_hadd_epi32(sums[2][half], sums[3][half]);
    const __m256 product =
        _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_hadd_epi32(first, second), offset));
    const __m256 least = _mm256_fmsub_ps(lower, two_of(scales + 2 * half),
                                         _mm256_mul_ps(spread, two_of(scales + kGroup + 2 * half)));
    mask |=
        static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(product, least, _CMP_GT_OQ)))
        << (8 * half);
  }
  return mask;
}

void filter(const FilterBlock& block, GroupMask* masks) {
  for (std::size_t group = 0; group < block.group_count; ++group) {
    masks[group] = filter_tile(block, 0, group);
    if (block.rows == kFilterRows) masks[group] |= filter_tile(block, 4, group) << 16;
  }
}

constexpr KernelSet kSet = {
    .name = kName,
    .tile_rows = kRows,
    .tile_columns = kColumns,
    .embedding_levels = kEmbeddingLevels,
    .multiply = multiply,
    .multiply_long = multiply_long,
    .select = select,
    .interleave = interleave_rows,
    .copy_columns = copy_columns,
    .dot = dot_in_double,
    .dot_wide = dot_wide,
    .dot_single = dot_single,
    .accumulate = accumulate_in_double,
    .accumulate_rows = accumulate_rows,
    .largest_size = largest_size,
    .quantize = quantize,
    .filter = filter,
    .filter_many = nullptr,
    .places = places_of,
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

#ifdef ALPHAMARGIN_AVX_VNNI
const KernelSet& avx2_vnni_kernel_set() { return kSet; }
#else
const KernelSet& avx2_kernel_set() { return kSet; }
#endif

}  // namespace alphamargin
