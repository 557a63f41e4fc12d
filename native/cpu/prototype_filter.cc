#include "cpu/prototype_filter.h"

#include <algorithm>
#include <cmath>

#include "cpu/kernel_set.h"

namespace alphamargin {

Buffer<float> make_bounds(MemoryAccount& scratch, const Embeddings& batch, float initial) {
  auto bounds = make_buffer<float>(scratch, batch.panel_count * kernel_set().tile_rows);
  std::fill(bounds.begin(), bounds.begin() + static_cast<std::ptrdiff_t>(batch.rows), initial);
  std::fill(bounds.begin() + static_cast<std::ptrdiff_t>(batch.rows), bounds.end(), INFINITY);
  return bounds;
}

void filter_prototypes(const PrototypeView& prototypes, const Embeddings& batch,
                       const float* bounds, std::size_t begin, std::size_t end,
                       MemoryAccount& scratch, Buffer<Survivor>& survivors) {
  const KernelSet& kernels = kernel_set();
  const std::size_t dim = prototypes.dim;
  auto panel = make_buffer<float>(scratch, kernels.tile_columns * dim);
  float factors[kLargestTileColumns];
  float tile[kLargestTileRows * kLargestTileColumns];
  std::uint32_t masks[kLargestTileRows];
  for (std::size_t first = begin; first < end; first += kernels.tile_columns) {
    const std::size_t count = std::min(kernels.tile_columns, end - first);
    for (std::size_t j = 0; j < count; ++j) {
      factors[j] = static_cast<float>(1 / prototypes.norms[first + j]);
    }
    kernels.interleave(prototypes.row(first), dim, factors, count, kernels.tile_columns, dim,
                       panel.data());
    const std::uint32_t present = count == 32 ? ~0u : (1u << count) - 1;
    for (std::size_t row_panel = 0; row_panel < batch.panel_count; ++row_panel) {
      const std::size_t row = row_panel * kernels.tile_rows;
      kernels.multiply(dim, batch.panels.data() + row * dim, panel.data(), tile);
      if (!kernels.select(tile, bounds + row, masks)) continue;
      for (std::size_t i = 0; i < kernels.tile_rows; ++i) {
        for (std::uint32_t mask = masks[i] & present; mask != 0; mask &= mask - 1) {
          const auto j = static_cast<std::size_t>(__builtin_ctz(mask));
          survivors.push_back({static_cast<std::uint32_t>(row + i),
                               static_cast<std::int32_t>(first + j),
                               tile[i * kernels.tile_columns + j]});
        }
      }
    }
  }
}

double exact_cosine(const PrototypeView& prototypes, const Embeddings& batch, std::size_t row,
                    std::size_t identity) {
  const double product = kernel_set().dot(batch.row(row), prototypes.row(identity), prototypes.dim);
  const double cosine = product / (batch.norms[row] * prototypes.norms[identity]);
  return std::clamp(cosine, -1.0, 1.0);
}

}  // namespace alphamargin
