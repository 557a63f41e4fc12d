// Compiled twice, with -mavx512f and friends: as it is, and with ALPHAMARGIN_AVX512_VNNI, whose
// multiply-add of bytes makes three instructions of the filter one. Only called where the CPU has
// them.
#include <immintrin.h>

// eight_doubles.inl may use the intrinsics.
#define ALPHAMARGIN_X86 1

#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

#include "cpu/eight_doubles.inl"
#include "cpu/kernel_loops.inl"
#include "cpu/kernel_updates.inl"
#include "cpu/tiles_avx512.inl"

// 12 × 32: 24 accumulators of the 32 registers.
constexpr std::size_t kRows = 12;
constexpr std::size_t kColumns = 32;

#ifdef ALPHAMARGIN_AVX512_VNNI
constexpr int kEmbeddingLevels = 127;
#else
// vpmaddubsw adds two products of an unsigned byte in 16 bits: 2·255·64 < 2^15.
constexpr int kEmbeddingLevels = 64;
#endif

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

void multiply_long(std::size_t depth, const float* left, const float* right, float* out,
                   std::size_t stride) {
  multiply_in_blocks<kRows, kColumns>(multiply, depth, left, right, out, stride);
}

// 16 rows × 16 elements, transposed in registers: from panel[16·columns] to panel[columns·16].
inline void interleave_square(const float* rows, std::size_t stride, const float* factors,
                              std::size_t width, float* panel) {
  __m512 r[16];
  __m512 t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    r[i] = _mm512_mul_ps(_mm512_loadu_ps(rows + static_cast<std::size_t>(i) * stride),
                         _mm512_set1_ps(factors[i]));
  }
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  // r[4 b + c]: rows 4 b … 4 b + 3 of elements c, c + 4, c + 8, c + 12.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512 low = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88);
    const __m512 high = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xdd);
    const __m512 low_more = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);
    const __m512 high_more = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xdd);
    float* target = panel + static_cast<std::size_t>(c) * width;
    _mm512_storeu_ps(target, _mm512_shuffle_f32x4(low, low_more, 0x88));
    _mm512_storeu_ps(target + 4 * width, _mm512_shuffle_f32x4(high, high_more, 0x88));
    _mm512_storeu_ps(target + 8 * width, _mm512_shuffle_f32x4(low, low_more, 0xdd));
    _mm512_storeu_ps(target + 12 * width, _mm512_shuffle_f32x4(high, high_more, 0xdd));
  }
}

void interleave(const float* rows, std::size_t stride, const float* factors, std::size_t count,
                std::size_t width, std::size_t depth, float* panel) {
  if (count < width || width % 16 != 0) {
    interleave_rows(rows, stride, factors, count, width, depth, panel);
    return;
  }
  std::size_t k = 0;
  for (; k + 16 <= depth; k += 16) {
    for (std::size_t i = 0; i < width; i += 16) {
      interleave_square(rows + i * stride + k, stride, factors + i, width, panel + k * width + i);
    }
  }
  interleave_rows(rows + k, stride, factors, count, width, depth - k, panel + k * width);
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

// The same sums in the same order as dot_in_double: products of float32 are exact, so a fused
// multiply-add rounds like a product and a sum.
double dot(const float* a, const float* b, std::size_t count) {
  __m512d low = _mm512_setzero_pd();
  __m512d high = _mm512_setzero_pd();
  const auto wide = [](const float* values) { return _mm512_cvtps_pd(_mm256_loadu_ps(values)); };
  std::size_t k = 0;
  for (; k + 16 <= count; k += 16) {
    low = _mm512_fmadd_pd(wide(a + k), wide(b + k), low);
    high = _mm512_fmadd_pd(wide(a + k + 8), wide(b + k + 8), high);
  }
  if (k < count) {
    const auto present = static_cast<__mmask16>((1u << (count - k)) - 1);
    const auto part = [present](const float* values, int half) {
      const auto mask = static_cast<__mmask8>(present >> (8 * half));
      return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, values + 8 * half));
    };
    // A lane without an element adds +0, which changes no sum but −0, and no sum starts there.
    low = _mm512_fmadd_pd(part(a + k, 0), part(b + k, 0), low);
    high = _mm512_fmadd_pd(part(a + k, 1), part(b + k, 1), high);
  }
  const __m512d eight = _mm512_add_pd(low, high);
  const __m256d four =
      _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

Rounding quantize(const float* values, float factor, std::size_t count, std::size_t stride,
                  std::uint8_t zero, std::uint8_t* out) {
  const __m512 scale = _mm512_set1_ps(factor);
  const __m128i flip = _mm_set1_epi8(static_cast<char>(zero));
  __m512 squares = _mm512_setzero_ps();
  __m512i sums = _mm512_setzero_si512();
  for (std::size_t k = 0; k < count; k += kChunk) {
    const auto present =
        static_cast<__mmask16>(count - k >= kChunk ? 0xffffu : (1u << (count - k)) - 1);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(present, values + k), scale);
    const __m512i whole = _mm512_cvtps_epi32(scaled);
    const __m512 rest = _mm512_sub_ps(scaled, _mm512_cvtepi32_ps(whole));
    squares = _mm512_fmadd_ps(rest, rest, squares);
    sums = _mm512_add_epi32(sums, whole);
    // Adding 128 to a byte is turning its highest bit.
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + k / kChunk * stride),
                     _mm_xor_si128(_mm512_cvtepi32_epi8(whole), flip));
  }
  return {_mm512_reduce_add_ps(squares), _mm512_reduce_add_epi32(sums)};
}

inline __m512i add_halves(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

// Each of four numbers four times.
inline __m512 repeat_each(const float* four) {
  const __m512i order = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  return _mm512_permutexvar_ps(order, _mm512_castps128_ps512(_mm_loadu_ps(four)));
}

// Of four rows, repeated for four classes.
struct RowBounds {
  __m512i offset;
  __m512 lower;
  __m512 spread;
};

// kTileRows × kTileGroups accumulators of 4 classes × 4 partial sums; 24 of the 32 registers.
template <std::size_t kTileRows, std::size_t kTileGroups>
inline void filter_tile(const FilterBlock& block, const RowBounds* bounds, std::size_t group,
                        GroupMask* masks) {
  const std::size_t stride = block.chunks * kGroup * kChunk;
  // A tile of three groups asks for one row, one of six for two.
  const float* const* const ahead = block.ahead + group / kGroupsPerRow;
  const TileSource source{block.panel + block.chunks * kTileRows * kChunk,
                          {ahead[0], kTileGroups > kGroupsPerRow ? ahead[1] : nullptr}};
  static_assert(offsetof(TileSource, end) == 0 && offsetof(TileSource, ahead) == 8);
  __m512i sums[kTileRows][kTileGroups];
  multiply_tile(block.groups + group * stride, stride, block.panel, source, sums);
#pragma GCC unroll 6
  for (std::size_t g = 0; g < kTileGroups; ++g) {
    const __m512 scale = repeat_each(block.scales + (group + g) * 2 * kGroup);
    const __m512 rest = repeat_each(block.scales + (group + g) * 2 * kGroup + kGroup);
    __mmask16 passes[2] = {};
#pragma GCC unroll 2
    for (std::size_t i = 0; i < kTileRows; i += 4) {
      // Four partial sums each to one: a quarter of the vector is then a class with its four rows.
      const __m512i first = add_halves(sums[i][g], sums[i + 1][g]);
      const __m512i second = add_halves(sums[i + 2][g], sums[i + 3][g]);
      const __m512i total = _mm512_add_epi32(_mm512_unpacklo_epi64(first, second),
                                             _mm512_unpackhi_epi64(first, second));
      const RowBounds& bound = bounds[i / 4];
      const __m512 least = _mm512_fmsub_ps(bound.lower, scale, _mm512_mul_ps(bound.spread, rest));
      const __m512 product = _mm512_cvtepi32_ps(_mm512_sub_epi32(total, bound.offset));
      passes[i / 4] = _mm512_cmp_ps_mask(product, least, _CMP_GT_OQ);
    }
    masks[group + g] = static_cast<GroupMask>(passes[0]) | static_cast<GroupMask>(passes[1]) << 16;
  }
}

template <std::size_t kTileRows, std::size_t kTileGroups>
void filter_panel(const FilterBlock& block, GroupMask* masks) {
  static_assert(kGroupsPerStep % kTileGroups == 0 && kTileRows % 4 == 0);
  RowBounds bounds[kTileRows / 4];
  for (std::size_t i = 0; i < kTileRows / 4; ++i) {
    bounds[i].offset = _mm512_broadcast_i32x4(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(block.offsets + 4 * i)));
    bounds[i].lower = _mm512_broadcast_f32x4(_mm_loadu_ps(block.lowers + 4 * i));
    bounds[i].spread = _mm512_broadcast_f32x4(_mm_loadu_ps(block.spreads + 4 * i));
  }
  for (std::size_t group = 0; group < block.group_count; group += kTileGroups) {
    filter_tile<kTileRows, kTileGroups>(block, bounds, group, masks);
  }
}

void filter(const FilterBlock& block, GroupMask* masks) {
  if (block.rows == kFilterRows) {
    filter_panel<kFilterRows, 3>(block, masks);
  } else {
    filter_panel<kFilterRowsShort, 6>(block, masks);
  }
}

std::size_t places_by_vector(const GroupMask* masks, std::size_t groups, std::uint32_t* places) {
  // Of the first four rows with the first group.
  const __m512i first =
      _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 32, 33, 34, 35, 48, 49, 50, 51);
  static_assert(kRowsPerPlace == 16 && kRoomForPlaces == 16);
  std::size_t count = 0;
  for (std::size_t begin = 0; begin < groups; begin += 16) {
    const auto present =
        static_cast<__mmask16>(groups - begin >= 16 ? 0xffffu : (1u << (groups - begin)) - 1);
    // Most groups have none.
    const __m512i sixteen = _mm512_maskz_loadu_epi32(present, masks + begin);
    unsigned left = _mm512_test_epi32_mask(sixteen, sixteen);
    for (; left != 0; left &= left - 1) {
      const std::size_t group = begin + static_cast<std::size_t>(__builtin_ctz(left));
      const auto base = static_cast<int>(group * kGroup * kRowsPerPlace);
      for (int half = 0; half < 2; ++half) {
        const auto mask = static_cast<__mmask16>(masks[group] >> (16 * half));
        const __m512i names = _mm512_add_epi32(first, _mm512_set1_epi32(base + 4 * half));
        _mm512_storeu_si512(places + count, _mm512_maskz_compress_epi32(mask, names));
        count += static_cast<std::size_t>(__builtin_popcount(mask));
      }
    }
  }
  return count;
}

std::size_t keep_above_vector(float bound, std::size_t count, std::int32_t* identities,
                              float* cosines) {
  const __m512 limit = _mm512_set1_ps(bound);
  std::size_t kept = 0;
  for (std::size_t j = 0; j < count; j += 16) {
    const auto present =
        static_cast<__mmask16>(count - j >= 16 ? 0xffffu : (1u << (count - j)) - 1);
    const __m512 values = _mm512_maskz_loadu_ps(present, cosines + j);
    const __m512i names = _mm512_maskz_loadu_epi32(present, identities + j);
    const __mmask16 above = _mm512_mask_cmp_ps_mask(present, values, limit, _CMP_GT_OQ);
    // Compressed in a register: compressing stores are microcode on some processors. What is
    // written ends before what has not been read.
    const auto size = static_cast<std::size_t>(__builtin_popcount(above));
    const auto room = static_cast<__mmask16>((1u << size) - 1);
    _mm512_mask_storeu_ps(cosines + kept, room, _mm512_maskz_compress_ps(above, values));
    _mm512_mask_storeu_epi32(identities + kept, room, _mm512_maskz_compress_epi32(above, names));
    kept += size;
  }
  return kept;
}

#ifdef ALPHAMARGIN_AVX512_VNNI
#define ALPHAMARGIN_KERNEL_SET avx512_vnni_kernel_set
constexpr const char* kName = "avx512-vnni";
#else
#define ALPHAMARGIN_KERNEL_SET avx512_kernel_set
constexpr const char* kName = "avx512";
#endif

constexpr KernelSet kSet = {
    .name = kName,
    .tile_rows = kRows,
    .tile_columns = kColumns,
    .embedding_levels = kEmbeddingLevels,
    .multiply = multiply,
    .multiply_long = multiply_long,
    .select = select,
    .interleave = interleave,
    .copy_columns = copy_columns,
    .dot = dot,
    .dot_wide = dot_wide,
    .dot_single = dot_single,
    .accumulate = accumulate_in_double,
    .accumulate_rows = accumulate_rows,
    .largest_size = largest_size,
    .quantize = quantize,
    .filter = filter,
    .filter_many = nullptr,
    .places = places_by_vector,
    .exp_sum = exp_sum,
    .exp_coefficients = exp_coefficients,
    .keep_above = keep_above_vector,
    .largest = largest,
    .threshold_sums = sums_above,
    .class_gradient = class_gradient,
    .class_step = class_step,
    .descend = descend,
};

}  // namespace

const KernelSet& ALPHAMARGIN_KERNEL_SET() { return kSet; }

}  // namespace alphamargin
