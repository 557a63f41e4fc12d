#include "cpu/embeddings.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "cpu/kernel_set.h"

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
                              const char* argument) {
  const KernelSet& kernels = kernel_set();
  Embeddings batch(scratch);
  batch.rows = input.rows();
  batch.dim = input.columns();
  batch.panel_count = (batch.rows + kernels.tile_rows - 1) / kernels.tile_rows;
  if (input.is_half()) batch.converted.resize(batch.rows * batch.dim);
  batch.norms.resize(batch.rows);
  batch.unit.resize(batch.rows * batch.dim);
  batch.panels.resize(batch.panel_count * kernels.tile_rows * batch.dim);
  batch.values = input.is_half() ? batch.converted.data() : input.row(0, nullptr);

  runtime.pool.run(batch.panel_count, [&](std::size_t panel) {
    const std::size_t first = panel * kernels.tile_rows;
    const std::size_t count = std::min(kernels.tile_rows, batch.rows - first);
    float ones[kLargestTileRows];
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t row = first + i;
      const float* values = input.row(row, batch.converted.data() + row * batch.dim);
      batch.norms[row] = checked_norm(argument, row, values, batch.dim);
      float* unit = batch.unit.data() + row * batch.dim;
      const double inverse = 1 / batch.norms[row];
      for (std::size_t k = 0; k < batch.dim; ++k) unit[k] = static_cast<float>(values[k] * inverse);
      ones[i] = 1;
    }
    kernels.interleave(batch.unit.data() + first * batch.dim, batch.dim, ones, count,
                       kernels.tile_rows, batch.dim, batch.panels.data() + first * batch.dim);
  });
  return batch;
}

}  // namespace alphamargin
