#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

#include "cpu/eight_doubles.inl"
#include "cpu/kernel_loops.inl"
#include "cpu/kernel_updates.inl"

constexpr std::size_t kRows = 4;
constexpr std::size_t kColumns = 8;

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

void quantize(const float* values, float factor, std::size_t count, std::size_t stride,
              std::int16_t* out) {
  for (std::size_t k = 0; k < count; k += kChunk) {
    quantize_chunk(values + k, factor, count - k, out + k / kChunk * stride);
  }
}

std::size_t filter(const FilterBlock& block, FilterHit* hits) {
  std::size_t found = 0;
  for (std::size_t group = 0; group < block.group_count; ++group) {
    const std::int16_t* classes = block.groups + group * block.chunks * kGroup * kChunk;
    for (std::size_t row = 0; row < block.rows; ++row) {
      // As unsigned numbers: partial sums may wrap.
      std::uint32_t sums[kGroup] = {};
      for (std::size_t chunk = 0; chunk < block.chunks; ++chunk) {
        const std::int16_t* x = block.panel + (chunk * block.rows + row) * kChunk;
        const std::int16_t* w = classes + chunk * kGroup * kChunk;
        for (std::size_t j = 0; j < kGroup; ++j) {
          std::uint32_t sum = 0;
          for (std::size_t k = 0; k < kChunk; ++k) {
            sum += static_cast<std::uint32_t>(static_cast<std::int32_t>(x[k]) * w[j * kChunk + k]);
          }
          sums[j] += sum;
        }
      }
      std::int32_t totals[kGroup];
      std::uint32_t mask = 0;
      for (std::size_t j = 0; j < kGroup; ++j) {
        totals[j] = static_cast<std::int32_t>(sums[j]);
        mask |= static_cast<std::uint32_t>(totals[j] > block.bounds[row]) << j;
      }
      found += append_hits(mask, 1, static_cast<std::uint32_t>(group * kGroup),
                           static_cast<std::uint32_t>(row), totals, hits + found);
    }
  }
  return found;
}

constexpr KernelSet kSet = {
    .name = "portable",
    .tile_rows = kRows,
    .tile_columns = kColumns,
    .multiply = multiply,
    .multiply_long = multiply_long,
    .select = select_above<kRows, kColumns>,
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

const KernelSet& portable_kernel_set() { return kSet; }

}  // namespace alphamargin
