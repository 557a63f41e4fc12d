// For aarch64. Compiled three times: as it is, for every processor, and with the flags for two
// extensions whose products of bytes shorten the filter; those are only called where the CPU has
// them.
#include <arm_neon.h>

// eight_doubles.inl may use the intrinsics; the portable set, NEON code here too, does without.
#define ALPHAMARGIN_NEON 1

#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

#include "cpu/eight_doubles.inl"
#include "cpu/filter_neon.inl"
#include "cpu/kernel_loops.inl"
#include "cpu/kernel_updates.inl"

// 8 × 12: 24 accumulators, three prototype vectors and two of embeddings of the 32 registers.
constexpr std::size_t kRows = 8;
constexpr std::size_t kColumns = 12;
constexpr std::size_t kVectors = kColumns / 4;

// Two products of bytes fit 16 bits.
constexpr int kEmbeddingLevels = 127;

#if defined(ALPHAMARGIN_NEON_I8MM)
constexpr const char* kName = "neon-i8mm";
#elif defined(ALPHAMARGIN_NEON_DOTPROD)
constexpr const char* kName = "neon-dotprod";
#else
constexpr const char* kName = "neon";
#endif

void multiply(std::size_t depth, const float* left, const float* right, float* tile) {
  float32x4_t sums[kRows][kVectors];
  for (auto& row : sums) row[0] = row[1] = row[2] = vdupq_n_f32(0);
  for (std::size_t k = 0; k < depth; ++k) {
    const float32x4_t low = vld1q_f32(left + k * kRows);
    const float32x4_t high = vld1q_f32(left + k * kRows + 4);
#pragma GCC unroll 3
    for (std::size_t v = 0; v < kVectors; ++v) {
      const float32x4_t prototypes = vld1q_f32(right + k * kColumns + 4 * v);
      sums[0][v] = vfmaq_laneq_f32(sums[0][v], prototypes, low, 0);
      sums[1][v] = vfmaq_laneq_f32(sums[1][v], prototypes, low, 1);
      sums[2][v] = vfmaq_laneq_f32(sums[2][v], prototypes, low, 2);
      sums[3][v] = vfmaq_laneq_f32(sums[3][v], prototypes, low, 3);
      sums[4][v] = vfmaq_laneq_f32(sums[4][v], prototypes, high, 0);
      sums[5][v] = vfmaq_laneq_f32(sums[5][v], prototypes, high, 1);
      sums[6][v] = vfmaq_laneq_f32(sums[6][v], prototypes, high, 2);
      sums[7][v] = vfmaq_laneq_f32(sums[7][v], prototypes, high, 3);
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
    for (std::size_t v = 0; v < kVectors; ++v) vst1q_f32(tile + i * kColumns + 4 * v, sums[i][v]);
  }
}

void multiply_long(std::size_t depth, const float* left, const float* right, float* out,
                   std::size_t stride) {
  multiply_in_blocks<kRows, kColumns>(multiply, depth, left, right, out, stride);
}

bool select(const float* tile, const float* bounds, std::uint32_t* masks) {
  std::uint32_t any = 0;
  for (std::size_t i = 0; i < kRows; ++i) {
    const float32x4_t bound = vdupq_n_f32(bounds[i]);
    const float* row = tile + i * kColumns;
    masks[i] = mask_of(vcgtq_f32(vld1q_f32(row), bound)) |
               mask_of(vcgtq_f32(vld1q_f32(row + 4), bound)) << 4 |
               mask_of(vcgtq_f32(vld1q_f32(row + 8), bound)) << 8;
    any |= masks[i];
  }
  return any != 0;
}

// sums += 16 products, lanes in ascending order.
inline void add_products(float64x2_t (&sums)[8], const float* a, const float* b) {
#pragma GCC unroll 4
  for (std::size_t v = 0; v < 4; ++v) {
    const float32x4_t left = vld1q_f32(a + 4 * v);
    const float32x4_t right = vld1q_f32(b + 4 * v);
    sums[2 * v] =
        vfmaq_f64(sums[2 * v], vcvt_f64_f32(vget_low_f32(left)), vcvt_f64_f32(vget_low_f32(right)));
    sums[2 * v + 1] = vfmaq_f64(sums[2 * v + 1], vcvt_high_f64_f32(left), vcvt_high_f64_f32(right));
  }
}

// The same sums in the same order as dot_in_double: products of float32 are exact, so a fused
// multiply-add rounds like a product and a sum.
double dot(const float* a, const float* b, std::size_t count) {
  constexpr std::size_t kLanes = 16;
  float64x2_t sums[8];
#pragma GCC unroll 8
  for (std::size_t v = 0; v < 8; ++v) sums[v] = vdupq_n_f64(0);
  std::size_t k = 0;
  for (; k + kLanes <= count; k += kLanes) add_products(sums, a + k, b + k);
  if (k < count) {
    // A lane without an element adds +0, which changes no sum but −0, and no sum starts there.
    float rest[2][kLanes] = {};
    __builtin_memcpy(rest[0], a + k, (count - k) * sizeof(float));
    __builtin_memcpy(rest[1], b + k, (count - k) * sizeof(float));
    add_products(sums, rest[0], rest[1]);
  }
  // Lane i and lane i + 8, then i + 4, i + 2, i + 1.
  const float64x2_t even = vaddq_f64(vaddq_f64(sums[0], sums[4]), vaddq_f64(sums[2], sums[6]));
  const float64x2_t odd = vaddq_f64(vaddq_f64(sums[1], sums[5]), vaddq_f64(sums[3], sums[7]));
  return vaddvq_f64(vaddq_f64(even, odd));
}

Rounding quantize(const float* values, float factor, std::size_t count, std::size_t stride,
                  std::uint8_t zero, std::uint8_t* out) {
  const uint8x16_t flip = vdupq_n_u8(zero);
  float32x4_t squares = vdupq_n_f32(0);
  int32x4_t sums = vdupq_n_s32(0);
  // Eight elements.
  const auto round = [&](const float* eight) {
    int16x4_t halves[2];
#pragma GCC unroll 2
    for (std::size_t v = 0; v < 2; ++v) {
      const float32x4_t scaled = vmulq_n_f32(vld1q_f32(eight + 4 * v), factor);
      const int32x4_t whole = vcvtnq_s32_f32(scaled);
      const float32x4_t rest = vsubq_f32(scaled, vcvtq_f32_s32(whole));
      squares = vfmaq_f32(squares, rest, rest);
      sums = vaddq_s32(sums, whole);
      halves[v] = vqmovn_s32(whole);
    }
    return vqmovn_s16(vcombine_s16(halves[0], halves[1]));
  };
  std::size_t k = 0;
  for (; k + kChunk <= count; k += kChunk) {
    const int8x8_t low = round(values + k);
    const int8x8_t high = round(values + k + 8);
    // Adding 128 to a byte is turning its highest bit.
    vst1q_u8(out + k / kChunk * stride,
             veorq_u8(vreinterpretq_u8_s8(vcombine_s8(low, high)), flip));
  }
  Rounding rounding{vaddvq_f32(squares), vaddvq_s32(sums)};
  if (k < count) {
    quantize_chunk(values + k, factor, count - k, zero, out + k / kChunk * stride, rounding);
  }
  return rounding;
}

// For every mask of four lanes, the bytes of the lanes that are set, moved to the front.
struct FrontLanes {
  std::uint8_t bytes[16][16] = {};
  constexpr FrontLanes() {
    for (std::size_t mask = 0; mask < 16; ++mask) {
      std::size_t filled = 0;
      for (std::size_t lane = 0; lane < 4; ++lane) {
        if ((mask >> lane & 1) == 0) continue;
        for (std::size_t i = 0; i < 4; ++i) {
          bytes[mask][filled++] = static_cast<std::uint8_t>(4 * lane + i);
        }
      }
    }
  }
};
constexpr FrontLanes kFrontLanes;

std::size_t keep_above_vector(float bound, std::size_t count, std::int32_t* identities,
                              float* cosines) {
  const float32x4_t limit = vdupq_n_f32(bound);
  std::size_t kept = 0;
  std::size_t j = 0;
  for (; j + 4 <= count; j += 4) {
    const float32x4_t values = vld1q_f32(cosines + j);
    const int32x4_t names = vld1q_s32(identities + j);
    const std::uint32_t above = mask_of(vcgtq_f32(values, limit));
    const uint8x16_t order = vld1q_u8(kFrontLanes.bytes[above]);
    // All four lanes are written; what is written ends before what has not been read.
    vst1q_f32(cosines + kept,
              vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(values), order)));
    vst1q_s32(identities + kept,
              vreinterpretq_s32_u8(vqtbl1q_u8(vreinterpretq_u8_s32(names), order)));
    kept += static_cast<std::size_t>(__builtin_popcount(above));
  }
  for (; j < count; ++j) {
    const float cosine = cosines[j];
    identities[kept] = identities[j];
    cosines[kept] = cosine;
    kept += cosine > bound ? 1 : 0;
  }
  return kept;
}

// The sixteen lanes of `largest`; GCC makes branches of that loop here.
float largest_vector(const float* values, std::size_t count) {
  constexpr std::size_t kLanes = 16;
  float32x4_t best[kLanes / 4];
  for (auto& lanes : best) lanes = vdupq_n_f32(values[0]);
  std::size_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kLanes / 4; ++v) {
      const float32x4_t next = vld1q_f32(values + j + 4 * v);
      best[v] = vbslq_f32(vcgtq_f32(next, best[v]), next, best[v]);
    }
  }
  float lanes[kLanes];
#pragma GCC unroll 4
  for (std::size_t v = 0; v < kLanes / 4; ++v) vst1q_f32(lanes + 4 * v, best[v]);
  for (; j < count; ++j) lanes[0] = values[j] > lanes[0] ? values[j] : lanes[0];
  for (const float value : lanes) lanes[0] = value > lanes[0] ? value : lanes[0];
  return lanes[0];
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
    .dot = dot,
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
    .keep_above = keep_above_vector,
    .largest = largest_vector,
    .threshold_sums = sums_above,
    .class_gradient = class_gradient,
    .class_step = class_step,
    .descend = descend,
};

}  // namespace

#if defined(ALPHAMARGIN_NEON_I8MM)
const KernelSet& neon_i8mm_kernel_set() { return kSet; }
#elif defined(ALPHAMARGIN_NEON_DOTPROD)
const KernelSet& neon_dotprod_kernel_set() { return kSet; }
#else
const KernelSet& neon_kernel_set() { return kSet; }
#endif

}  // namespace alphamargin
