// The filter of the NEON kernel sets, which differ in what they multiply bytes with: pairs of
// widening products, dot products of four (sdot), or products of 2 × 8 and 8 × 2 bytes (usmmla).
// For 8 rows, 4 classes and 16 elements that is 96, 32 or 16 instructions.

// Bit j where lane j of a comparison is all ones.
inline std::uint32_t mask_of(uint32x4_t comparison) {
  const uint32x4_t bits = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(comparison, bits));
}

// Which classes of a group pass for the four rows from `row` on: totals[j] are Σ p q of class j.
inline GroupMask passing(const FilterBlock& block, std::size_t row, std::size_t group,
                         const int32x4_t (&totals)[kGroup]) {
  const float32x4_t lower = vld1q_f32(block.lowers + row);
  const float32x4_t spread = vld1q_f32(block.spreads + row);
  const float* scales = block.scales + group * 2 * kGroup;
  uint32x4_t passes[kGroup];
  uint32x4_t any = vdupq_n_u32(0);
#pragma GCC unroll 4
  for (std::size_t j = 0; j < kGroup; ++j) {
    const float32x4_t least =
        vsubq_f32(vmulq_n_f32(lower, scales[j]), vmulq_n_f32(spread, scales[kGroup + j]));
    passes[j] = vcgtq_f32(vcvtq_f32_s32(totals[j]), least);
    any = vorrq_u32(any, passes[j]);
  }
  if (__builtin_expect(vmaxvq_u32(any) == 0, 1)) return 0;
  GroupMask mask = 0;
#pragma GCC unroll 4
  for (std::size_t j = 0; j < kGroup; ++j) mask |= mask_of(passes[j]) << (j * 4);
  return mask << (row / 4 * 16);
}

#if defined(ALPHAMARGIN_NEON_I8MM)

// A chunk of two neighbouring rows, or classes: the first halves of both, then the second ones.
inline int8x16x2_t two_rows(const std::int8_t* rows) {
  const int64x2x2_t halves = vld2q_s64(reinterpret_cast<const std::int64_t*>(rows));
  return {{vreinterpretq_s8_s64(halves.val[0]), vreinterpretq_s8_s64(halves.val[1])}};
}
inline uint8x16x2_t two_classes(const std::uint8_t* classes) {
  const uint64x2x2_t halves = vld2q_u64(reinterpret_cast<const std::uint64_t*>(classes));
  return {{vreinterpretq_u8_u64(halves.val[0]), vreinterpretq_u8_u64(halves.val[1])}};
}

// All rows of a block with two groups: for 8 rows 16 accumulators of two classes × two rows, eight
// vectors of embeddings and two of classes. Classes are taken as they are stored, 128 too large.
template <std::size_t kRowPairs>
inline void filter_groups(const FilterBlock& block, std::size_t group, GroupMask* masks) {
  constexpr std::size_t kClassPairs = kGroup;  // of both
  const std::int8_t* panel = block.panel;
  const std::uint8_t* classes[2] = {
      block.groups + group * block.chunks * kGroup * kChunk,
      block.groups + (group + 1) * block.chunks * kGroup * kChunk,
  };
  int32x4_t sums[kClassPairs][kRowPairs];
#pragma GCC unroll 4
  for (std::size_t j = 0; j < kClassPairs; ++j) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kRowPairs; ++i) sums[j][i] = vdupq_n_s32(0);
  }
  for (std::size_t chunk = 0; chunk < block.chunks; ++chunk) {
    int8x16x2_t embeddings[kRowPairs];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kRowPairs; ++i) embeddings[i] = two_rows(panel + 2 * i * kChunk);
#pragma GCC unroll 4
    for (std::size_t j = 0; j < kClassPairs; ++j) {
      const uint8x16x2_t pair = two_classes(classes[j / 2] + (chunk * kGroup + j % 2 * 2) * kChunk);
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kRowPairs; ++i) {
        sums[j][i] = vusmmlaq_s32(sums[j][i], pair.val[0], embeddings[i].val[0]);
      }
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kRowPairs; ++i) {
        sums[j][i] = vusmmlaq_s32(sums[j][i], pair.val[1], embeddings[i].val[1]);
      }
    }
    panel += 2 * kRowPairs * kChunk;
  }
#pragma GCC unroll 2
  for (std::size_t g = 0; g < 2; ++g) {
    masks[group + g] = 0;
#pragma GCC unroll 2
    for (std::size_t half = 0; half < kRowPairs / 2; ++half) {
      const int32x4_t offset = vld1q_s32(block.offsets + 4 * half);
      int32x4_t totals[kGroup];
#pragma GCC unroll 2
      for (std::size_t j = 0; j < kGroup / 2; ++j) {
        const int64x2_t low = vreinterpretq_s64_s32(sums[2 * g + j][2 * half]);
        const int64x2_t high = vreinterpretq_s64_s32(sums[2 * g + j][2 * half + 1]);
        totals[2 * j] = vsubq_s32(vreinterpretq_s32_s64(vzip1q_s64(low, high)), offset);
        totals[2 * j + 1] = vsubq_s32(vreinterpretq_s32_s64(vzip2q_s64(low, high)), offset);
      }
      masks[group + g] |= passing(block, 4 * half, group + g, totals);
    }
  }
}

void filter(const FilterBlock& block, GroupMask* masks) {
  static_assert(kGroupsPerStep % 2 == 0);
  for (std::size_t group = 0; group < block.group_count; group += 2) {
    if (block.rows == kFilterRows) {
      filter_groups<kFilterRows / 2>(block, group, masks);
    } else {
      filter_groups<kFilterRowsShort / 2>(block, group, masks);
    }
  }
}

#else

// Adds products of 16 bytes to four sums.
inline int32x4_t add_bytes(int32x4_t sums, int8x16_t a, int8x16_t b) {
#if defined(ALPHAMARGIN_NEON_DOTPROD)
  return vdotq_s32(sums, a, b);
#else
  const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
  return vpadalq_s16(sums, vmlal_high_s8(low, a, b));
#endif
}

// Four rows with one group: 16 accumulators of one class × 4 partial sums, four vectors of
// embeddings, one of a class and the products.
inline GroupMask filter_tile(const FilterBlock& block, std::size_t row, std::size_t group) {
  constexpr std::size_t kTileRows = 4;
  const std::int8_t* panel = block.panel + row * kChunk;
  const std::uint8_t* classes = block.groups + group * block.chunks * kGroup * kChunk;
  const uint8x16_t flip = vdupq_n_u8(kStoredZero);
  int32x4_t sums[kGroup][kTileRows];
#pragma GCC unroll 4
  for (std::size_t j = 0; j < kGroup; ++j) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kTileRows; ++i) sums[j][i] = vdupq_n_s32(0);
  }
  for (std::size_t chunk = 0; chunk < block.chunks; ++chunk) {
    int8x16_t embeddings[kTileRows];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kTileRows; ++i) embeddings[i] = vld1q_s8(panel + i * kChunk);
#pragma GCC unroll 4
    for (std::size_t j = 0; j < kGroup; ++j) {
      // Signed as they are meant: no unsigned bytes by signed ones here, and the sums need no
      // offset.
      const int8x16_t prototype =
          vreinterpretq_s8_u8(veorq_u8(vld1q_u8(classes + j * kChunk), flip));
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kTileRows; ++i) {
        sums[j][i] = add_bytes(sums[j][i], prototype, embeddings[i]);
      }
    }
    panel += block.rows * kChunk;
    classes += kGroup * kChunk;
  }
  // Four partial sums each to one: a vector is then a class with its four rows.
  int32x4_t totals[kGroup];
#pragma GCC unroll 4
  for (std::size_t j = 0; j < kGroup; ++j) {
    totals[j] = vpaddq_s32(vpaddq_s32(sums[j][0], sums[j][1]), vpaddq_s32(sums[j][2], sums[j][3]));
  }
  return passing(block, row, group, totals);
}

void filter(const FilterBlock& block, GroupMask* masks) {
  for (std::size_t group = 0; group < block.group_count; ++group) {
    masks[group] = filter_tile(block, 0, group);
    if (block.rows == kFilterRows) masks[group] |= filter_tile(block, 4, group);
  }
}

#endif
