#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

#include "cpu/kernel_loops.inl"

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

constexpr KernelSet kSet = {"portable",
                            kRows,
                            kColumns,
                            multiply,
                            select_above<kRows, kColumns>,
                            interleave_rows,
                            dot_in_double,
                            accumulate_in_double};

}  // namespace

const KernelSet& portable_kernel_set() { return kSet; }

}  // namespace alphamargin
