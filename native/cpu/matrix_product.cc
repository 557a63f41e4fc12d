#include "cpu/matrix_product.h"

#include <algorithm>

#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

// Columns begin … begin + width − 1 of a [K, ·] operand as a panel: panel[k·width + j].
void pack_panel(const KernelSet& kernels, const MatrixView& view, bool stored_by_column,
                std::size_t begin, std::size_t count, std::size_t width, std::size_t depth,
                float* panel) {
  if (stored_by_column) {
    float ones[kLargestTileColumns];
    std::fill(ones, ones + count, 1.0f);
    const float* factors = view.row_factors == nullptr ? ones : view.row_factors + begin;
    kernels.interleave(view.data + begin * view.stride, view.stride, factors, count, width, depth,
                       panel);
    return;
  }
  kernels.copy_columns(view.data + begin, view.stride, view.row_factors, count, width, depth,
                       panel);
}

// A whole row of a tile is worth no call.
void copy_row(const float* row, std::size_t count, float* out) {
  if (count == kLargestTileColumns) {
    std::copy_n(row, kLargestTileColumns, out);
  } else {
    std::copy_n(row, count, out);
  }
}

std::size_t divided_up(std::size_t value, std::size_t by) { return (value + by - 1) / by; }

}  // namespace

void pack_left(Runtime& runtime, const MatrixView& left, std::size_t rows, std::size_t inner,
               Buffer<float>& packed) {
  const KernelSet& kernels = kernel_set();
  const std::size_t tile_rows = kernels.tile_rows;
  const std::size_t row_panels = divided_up(rows, tile_rows);
  packed.resize(row_panels * tile_rows * inner);
  runtime.pool.run(row_panels, [&](std::size_t panel) {
    const std::size_t begin = panel * tile_rows;
    pack_panel(kernels, left, !left.transposed, begin, std::min(tile_rows, rows - begin), tile_rows,
               inner, packed.data() + begin * inner);
  });
}

void matrix_product(Runtime& runtime, ProductPanels& panels, const MatrixView& left,
                    const MatrixView& right, std::size_t rows, std::size_t inner,
                    std::size_t columns, float* out) {
  pack_left(runtime, left, rows, inner, panels.left);
  packed_product(runtime, panels.left, panels.right, right, rows, inner, columns, out);
}

void packed_product(Runtime& runtime, const Buffer<float>& left, Buffer<float>& room,
                    const MatrixView& right, std::size_t rows, std::size_t inner,
                    std::size_t columns, float* out) {
  const KernelSet& kernels = kernel_set();
  const std::size_t tile_rows = kernels.tile_rows;
  const std::size_t tile_columns = kernels.tile_columns;
  const std::size_t row_panels = divided_up(rows, tile_rows);
  const std::size_t column_panels = divided_up(columns, tile_columns);

  // A piece packs its own column panel, so only as many as there are threads are hot at a time.
  room.resize(column_panels * tile_columns * inner);
  runtime.pool.run(column_panels, [&](std::size_t panel) {
    const std::size_t first = panel * tile_columns;
    const std::size_t count = std::min(tile_columns, columns - first);
    float* packed = room.data() + first * inner;
    pack_panel(kernels, right, right.transposed, first, count, tile_columns, inner, packed);
    float tile[kLargestTileRows * kLargestTileColumns];
    for (std::size_t row_panel = 0; row_panel < row_panels; ++row_panel) {
      const std::size_t begin = row_panel * tile_rows;
      kernels.multiply_long(inner, left.data() + begin * inner, packed, tile);
      const std::size_t end = std::min(rows, begin + tile_rows);
      for (std::size_t i = begin; i < end; ++i) {
        copy_row(tile + (i - begin) * tile_columns, count, out + i * columns + first);
      }
    }
  });
}

}  // namespace alphamargin
