#include "cpu/embeddings.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "cpu/kernel_set.h"
#include "cpu/row_pieces.h"

namespace alphamargin {

double checked_norm(const char* argument, std::size_t row, const float* values, std::size_t dim) {
  check_finite(argument, row, values, dim);
  const double norm = std::sqrt(kernel_set().dot(values, values, dim));
  if (!(norm >= kSmallestNorm && norm <= kLargestNorm)) {
    throw Failure(FailureCode::kInvalidArgument,
                  "expected " + std::string(argument) + " row " + std::to_string(row) +
                      " to have a norm between 1e-30 and 1e30 (it needs a direction) but received "
                      "norm " +
                      shown(norm));
  }
  return norm;
}

Embeddings prepare_embeddings(Runtime& runtime, MemoryAccount& scratch, const RealMatrix& input,
                              const char* argument, const std::int32_t* labels) {
  Embeddings batch(scratch);
  batch.rows = input.rows();
  batch.dim = input.columns();
  if (input.is_half()) batch.converted.resize(batch.rows * batch.dim);
  batch.norms.resize(batch.rows);
  batch.unit.resize(batch.rows * batch.dim);
  batch.values = input.is_half() ? batch.converted.data() : input.row(0, nullptr);

  for_row_pieces(runtime, batch.rows, batch.dim, [&](std::size_t first, std::size_t last) {
    for (std::size_t row = first; row < last; ++row) {
      if (labels != nullptr && labels[row] == kIgnoredLabel) {
        batch.norms[row] = 1;
        std::fill_n(batch.unit.data() + row * batch.dim, batch.dim, 0.0f);
        batch.unit[row * batch.dim] = 1;
        continue;
      }
      const float* values = input.row(row, batch.converted.data() + row * batch.dim);
      batch.norms[row] = checked_norm(argument, row, values, batch.dim);
      float* unit = batch.unit.data() + row * batch.dim;
      const double inverse = 1 / batch.norms[row];
      for (std::size_t k = 0; k < batch.dim; ++k) unit[k] = static_cast<float>(values[k] * inverse);
    }
  });
  return batch;
}

Buffer<float> float_panels(Runtime& runtime, MemoryAccount& scratch, const Embeddings& batch) {
  const KernelSet& kernels = kernel_set();
  const std::size_t panels = (batch.rows + kernels.tile_rows - 1) / kernels.tile_rows;
  auto packed = make_buffer<float>(scratch, panels * kernels.tile_rows * batch.dim);
  float ones[kLargestTileRows];
  std::fill(ones, ones + kLargestTileRows, 1.0f);
  runtime.pool.run(panels, [&](std::size_t panel) {
    const std::size_t first = panel * kernels.tile_rows;
    kernels.interleave(batch.unit_row(first), batch.dim, ones,
                       std::min(kernels.tile_rows, batch.rows - first), kernels.tile_rows,
                       batch.dim, packed.data() + first * batch.dim);
  });
  return packed;
}

}  // namespace alphamargin
