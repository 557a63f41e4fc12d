// The AVX-512 kernels with VNNI and, on the tiles of AMX, a filter of many rows: an instruction
// multiplies 16 embeddings by 16 prototypes over 64 elements, in a register file of its own. Only
// called where the CPU has them.
//
// Embeddings are the left operand as they are. Prototypes are the right one and have to lie four
// bytes of each side by side, so 32 of them at a time are packed and then met by all embeddings.
// The sums are the integers of the other kernel sets, in any order.
//
// Shapes: see FilterBlock; rows in any number of panels, groups in any number. Traffic: the groups
// from memory once, the embeddings from the second-level cache once for 32 prototypes, one mask for
// a group and a panel.
#include <immintrin.h>

#include <algorithm>

#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

// Tests put C++ in their place (test/native/kernel_set_software_tiles.cc).
#ifdef ALPHAMARGIN_SOFTWARE_TILES
#include ALPHAMARGIN_SOFTWARE_TILES
#else
#include "cpu/tile_instructions.inl"
#endif

constexpr std::size_t kTileSide = kManyRows;
constexpr std::size_t kTileDepth = kManyElements;
constexpr std::size_t kTileBytes = kTileSide * kTileDepth;
constexpr std::size_t kGroupsPerTile = kTileSide / kGroup;
constexpr std::size_t kChunksPerTile = kTileDepth / kChunk;
static_assert(kTileSide == 16 && kTileDepth == 64 && kManyGroups == 2 * kGroupsPerTile);
static_assert(kFilterRows == kTileSide / 2);

// Tiles 0 … 3 are sums, 4 and 5 embeddings, 6 and 7 prototypes.
constexpr int kEmbeddingTile = 4;
constexpr int kPrototypeTile = 6;

// Of the 16 prototypes of a tile, in the order of its columns: column 4 p + g is prototype p of
// group g.
struct TileScales {
  __m512 scale;
  __m512 rest;
};

inline __m512 transposed(__m128 a, __m128 b, __m128 c, __m128 d) {
  _MM_TRANSPOSE4_PS(a, b, c, d);
  const __m256 low = _mm256_set_m128(b, a);
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), _mm256_set_m128(d, c), 1);
}

// Which group is read as number `group` of a tile: where there are no more, the last again, whose
// masks nobody takes.
inline std::size_t group_of_tile(const FilterBlock& block, std::size_t group) {
  return group < block.group_count ? group : block.group_count - 1;
}

inline TileScales tile_scales(const FilterBlock& block, std::size_t first) {
  const auto of = [&](std::size_t group, std::size_t which) {
    return _mm_loadu_ps(block.scales + (group_of_tile(block, first + group) * 2 + which) * kGroup);
  };
  return {transposed(of(0, 0), of(1, 0), of(2, 0), of(3, 0)),
          transposed(of(0, 1), of(1, 1), of(2, 1), of(3, 1))};
}

// packed [steps][64/4][column][4]: what lies beyond the last chunk is zero, so that it does not
// matter what the embeddings have there.
inline void pack_tile(const FilterBlock& block, std::size_t first, std::size_t steps,
                      std::uint8_t* packed) {
  const std::size_t stride = block.chunks * kGroup * kChunk;
  const std::uint8_t* lines[kGroupsPerTile];
  for (std::size_t g = 0; g < kGroupsPerTile; ++g) {
    lines[g] = block.groups + group_of_tile(block, first + g) * stride;
  }
  for (std::size_t chunk = 0; chunk < steps * kChunksPerTile; ++chunk) {
    auto* const out = reinterpret_cast<__m512i*>(packed + chunk * kGroupsPerTile * kGroup * kChunk);
    if (chunk >= block.chunks) {
      for (int i = 0; i < 4; ++i) _mm512_store_si512(out + i, _mm512_setzero_si512());
      continue;
    }
    const auto line = [&](std::size_t g) {
      return _mm512_load_si512(lines[g] + chunk * kGroup * kChunk);
    };
    const __m512i a = line(0);
    const __m512i b = line(1);
    const __m512i c = line(2);
    const __m512i d = line(3);
    const __m512i low = _mm512_unpacklo_epi32(a, b);
    const __m512i low_more = _mm512_unpacklo_epi32(c, d);
    const __m512i high = _mm512_unpackhi_epi32(a, b);
    const __m512i high_more = _mm512_unpackhi_epi32(c, d);
    _mm512_store_si512(out, _mm512_unpacklo_epi64(low, low_more));
    _mm512_store_si512(out + 1, _mm512_unpackhi_epi64(low, low_more));
    _mm512_store_si512(out + 2, _mm512_unpacklo_epi64(high, high_more));
    _mm512_store_si512(out + 3, _mm512_unpackhi_epi64(high, high_more));
  }
}

// Turns a square of 4 × 4 bits of each quarter: from bit 16 i + 4 p + g to bit 16 g + 4 p + i.
inline std::uint64_t turned(std::uint64_t bits) {
  std::uint64_t changed = (bits ^ bits >> 15) & 0x0000aaaa0000aaaa;
  bits ^= changed ^ changed << 15;
  changed = (bits ^ bits >> 30) & 0x00000000cccccccc;
  return bits ^ changed ^ changed << 30;
}

// Which of four rows of sums pass; bit 16 g + 4 p + i.
inline std::uint64_t passing_rows(const FilterBlock& block, std::size_t row,
                                  const std::int32_t* sums, const TileScales& scales) {
  std::uint64_t bits = 0;
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    const __m512i total = _mm512_load_si512(sums + i * kTileSide);
    const __m512 least =
        _mm512_fmsub_ps(_mm512_set1_ps(block.lowers[row + i]), scales.scale,
                        _mm512_mul_ps(_mm512_set1_ps(block.spreads[row + i]), scales.rest));
    const __m512 product =
        _mm512_cvtepi32_ps(_mm512_sub_epi32(total, _mm512_set1_epi32(block.offsets[row + i])));
    bits |= static_cast<std::uint64_t>(_mm512_cmp_ps_mask(product, least, _CMP_GT_OQ)) << (16 * i);
  }
  return turned(bits);
}

// The masks of a panel of embeddings and a tile of prototypes.
inline void write_masks(const FilterBlock& block, std::size_t row, std::size_t group,
                        const std::int32_t* sums, const TileScales& scales, GroupMask* masks) {
  const std::uint64_t first = passing_rows(block, row, sums, scales);
  const std::uint64_t second = passing_rows(block, row + 4, sums + 4 * kTileSide, scales);
  const __m128i four = _mm_unpacklo_epi16(_mm_cvtsi64_si128(static_cast<long long>(first)),
                                          _mm_cvtsi64_si128(static_cast<long long>(second)));
  const std::size_t present = std::min(kGroupsPerTile, block.group_count - group);
  _mm_mask_storeu_epi32(masks + row / kFilterRows * block.mask_stride + group,
                        static_cast<__mmask8>((1u << present) - 1), four);
}

// What is asked for while tiles multiply, some lines in every step: the groups that are packed
// next, and the rows of FilterBlock::ahead.
class LinesAhead {
 public:
  LinesAhead(const FilterBlock& block, std::size_t steps)
      : row_(block.ahead), last_row_(block.ahead + block.rows_ahead), lines_of_row_(block.chunks) {
    const std::size_t blocks = (block.group_count + kManyGroups - 1) / kManyGroups;
    group_lines_ = shared(kManyGroups * block.chunks, steps);
    row_lines_ = shared(block.rows_ahead * lines_of_row_, blocks * steps);
  }

  void begin_block(const std::uint8_t* next_groups) { groups_ = next_groups; }
  void ask() {
    for (std::size_t i = 0; i < group_lines_; ++i, groups_ += kLine) {
      __builtin_prefetch(groups_, 0, 2);
    }
    for (std::size_t i = 0; i < row_lines_ && row_ != last_row_; ++i) {
      __builtin_prefetch(*row_ + line_ * kLine / sizeof(float), 0, 2);
      if (++line_ < lines_of_row_) continue;
      line_ = 0;
      ++row_;
    }
  }

 private:
  static constexpr std::size_t kLine = 64;
  static std::size_t shared(std::size_t lines, std::size_t steps) {
    return (lines + steps - 1) / steps;
  }

  const std::uint8_t* groups_ = nullptr;
  const float* const* row_;
  const float* const* last_row_;
  std::size_t lines_of_row_;
  std::size_t line_ = 0;
  std::size_t group_lines_;  // of a step
  std::size_t row_lines_;
};

// 16 or 32 embeddings with 32 prototypes.
template <int kEmbeddingTiles>
inline void multiply_tiles(const std::int8_t* embeddings, std::size_t row_bytes,
                           const std::uint8_t* packed, std::size_t steps, LinesAhead& ahead,
                           std::int32_t* sums) {
  clear_tile<0>();
  clear_tile<1>();
  if constexpr (kEmbeddingTiles == 2) {
    clear_tile<2>();
    clear_tile<3>();
  }
  for (std::size_t step = 0; step < steps; ++step) {
    load_tile<kPrototypeTile>(packed + step * kTileBytes, kTileDepth);
    load_tile<kEmbeddingTile>(embeddings + step * kTileDepth, row_bytes);
    multiply_add_tiles<0, kEmbeddingTile, kPrototypeTile>();
    load_tile<kPrototypeTile + 1>(packed + (steps + step) * kTileBytes, kTileDepth);
    multiply_add_tiles<1, kEmbeddingTile, kPrototypeTile + 1>();
    if constexpr (kEmbeddingTiles == 2) {
      load_tile<kEmbeddingTile + 1>(embeddings + kTileSide * row_bytes + step * kTileDepth,
                                    row_bytes);
      multiply_add_tiles<2, kEmbeddingTile + 1, kPrototypeTile>();
      multiply_add_tiles<3, kEmbeddingTile + 1, kPrototypeTile + 1>();
    }
    ahead.ask();
  }
  constexpr std::size_t kSums = kTileSide * kTileSide;
  store_tile<0>(sums);
  store_tile<1>(sums + kSums);
  if constexpr (kEmbeddingTiles == 2) {
    store_tile<2>(sums + 2 * kSums);
    store_tile<3>(sums + 3 * kSums);
  }
}

void filter_many(const FilterBlock& block, GroupMask* masks) {
  constexpr std::size_t kRowsAtOnce = 2 * kTileSide;
  constexpr std::size_t kSums = kTileSide * kTileSide;
  alignas(64) std::int32_t sums[4 * kSums];
  const std::size_t steps = (block.chunks + kChunksPerTile - 1) / kChunksPerTile;
  const std::size_t row_bytes = block.chunks * kChunk;
  LinesAhead ahead(block, (block.rows + kRowsAtOnce - 1) / kRowsAtOnce * steps);
  begin_tiles();
  for (std::size_t group = 0; group < block.group_count; group += kManyGroups) {
    pack_tile(block, group, steps, block.packed);
    pack_tile(block, group + kGroupsPerTile, steps, block.packed + steps * kTileBytes);
    const TileScales scales[] = {tile_scales(block, group),
                                 tile_scales(block, group + kGroupsPerTile)};
    ahead.begin_block(block.groups + (group + kManyGroups) * row_bytes * kGroup);
    for (std::size_t row = 0; row < block.rows; row += kRowsAtOnce) {
      const std::int8_t* const embeddings = block.panel + row * row_bytes;
      const std::size_t rows = std::min(kRowsAtOnce, block.rows - row);
      if (rows > kTileSide) {
        multiply_tiles<2>(embeddings, row_bytes, block.packed, steps, ahead, sums);
      } else {
        multiply_tiles<1>(embeddings, row_bytes, block.packed, steps, ahead, sums);
      }
      for (std::size_t half = 0; half < 2; ++half) {
        const std::size_t first = group + half * kGroupsPerTile;
        if (first >= block.group_count) break;
        for (std::size_t i = 0; i < rows; i += kFilterRows) {
          const std::size_t tile = i / kTileSide * 2 + half;
          write_masks(block, row + i, first, sums + tile * kSums + i % kTileSide * kTileSide,
                      scales[half], masks);
        }
      }
    }
  }
  end_tiles();
}

KernelSet with_tiles() {
  KernelSet set = avx512_vnni_kernel_set();
  set.name = "amx";
  set.filter_many = filter_many;
  return set;
}

}  // namespace

#ifndef ALPHAMARGIN_SOFTWARE_TILES
const KernelSet& amx_kernel_set() {
  static const KernelSet set = with_tiles();
  return set;
}
#endif

}  // namespace alphamargin
