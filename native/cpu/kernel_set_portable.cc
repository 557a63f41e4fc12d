#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

#include "cpu/eight_doubles.inl"
#include "cpu/kernel_loops.inl"
#include "cpu/kernel_updates.inl"

constexpr std::size_t kRows = 4;
constexpr std::size_t kColumns = 8;
constexpr int kEmbeddingLevels = 127;

void multiply(std::size_t depth, const float* left, const float* right, float* tile) {
  float sums[kRows][kColumns] = {};
  for (std::size_t k = 0; k < depth; ++k) {
    for (std::size_t i = 0; i < kRows; ++i) {
      for (std::size_t j = 0; j < kColumns; ++j) {
        sums[i][j] += left[k * kRows + i] * right[k * kColumns + j];
      }
    }
  }
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < kColumns; ++j) tile[i * kColumns + j] = sums[i][j];
  }
}

void multiply_long(std::size_t depth, const float* left, const float* right, float* out,
                   std::size_t stride) {
  multiply_in_blocks<kRows, kColumns>(multiply, depth, left, right, out, stride);
}

Rounding quantize(const float* values, float factor, std::size_t count, std::size_t stride,
                  std::uint8_t zero, std::uint8_t* out) {
  Rounding rounding;
  for (std::size_t k = 0; k < count; k += kChunk) {
    quantize_chunk(values + k, factor, count - k, zero, out + k / kChunk * stride, rounding);
  }
  return rounding;
}

void filter(const FilterBlock& block, GroupMask* masks) {
  for (std::size_t group = 0; group < block.group_count; ++group) {
    const std::uint8_t* classes = block.groups + group * block.chunks * kGroup * kChunk;
    const float* scales = block.scales + group * 2 * kGroup;
    masks[group] = 0;
    for (std::size_t row = 0; row < block.rows; ++row) {
      std::int32_t sums[kGroup] = {};
      for (std::size_t chunk = 0; chunk < block.chunks; ++chunk) {
        const std::int8_t* x = block.panel + (chunk * block.rows + row) * kChunk;
        const std::uint8_t* w = classes + chunk * kGroup * kChunk;
        for (std::size_t j = 0; j < kGroup; ++j) {
          std::int32_t sum = 0;
          for (std::size_t k = 0; k < kChunk; ++k) sum += x[k] * (w[j * kChunk + k] - kStoredZero);
          sums[j] += sum;
        }
      }
      for (std::size_t j = 0; j < kGroup; ++j) {
        const float least = block.lowers[row] * scales[j] - block.spreads[row] * scales[kGroup + j];
        masks[group] |= static_cast<GroupMask>(static_cast<float>(sums[j]) > least)
                        << (row / 4 * 16 + 4 * j + row % 4);
      }
    }
  }
}

constexpr KernelSet kSet = {
    .name = "portable",
    .tile_rows = kRows,
    .tile_columns = kColumns,
    .embedding_levels = kEmbeddingLevels,
    .multiply = multiply,
    .multiply_long = multiply_long,
    .select = select_above<kRows, kColumns>,
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

const KernelSet& portable_kernel_set() { return kSet; }

}  // namespace alphamargin
