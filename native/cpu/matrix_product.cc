#include "cpu/matrix_product.h"

#include <algorithm>
#include <mutex>
#include <numeric>

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

// Parts of a buffer that pieces of work hold one after another, so that a piece writes where
// another has ended, in cache, and not where nobody has been for long. As many as there are pieces:
// one is always free.
class Strips {
 public:
  Strips(std::size_t count, Buffer<std::size_t>& room) : free_(room) {
    free_.resize(count);
    std::iota(free_.rbegin(), free_.rend(), std::size_t{0});
  }

  std::size_t take() {
    const std::lock_guard lock(mutex_);
    const std::size_t strip = free_.back();
    free_.pop_back();
    return strip;
  }
  void give_back(std::size_t strip) {
    const std::lock_guard lock(mutex_);
    free_.push_back(strip);
  }

 private:
  std::mutex mutex_;
  Buffer<std::size_t>& free_;
};

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
  packed_product(runtime, panels.left, panels, right, rows, inner, columns, out);
}

void ProductPanels::reserve(std::size_t rows, std::size_t inner, std::size_t columns) {
  const KernelSet& kernels = kernel_set();
  const std::size_t column_panels = divided_up(columns, kernels.tile_columns);
  left.reserve(divided_up(rows, kernels.tile_rows) * kernels.tile_rows * inner);
  right.reserve(column_panels * kernels.tile_columns * inner);
  strips.reserve(column_panels);
}

void packed_product(Runtime& runtime, const Buffer<float>& left, ProductPanels& panels,
                    const MatrixView& right, std::size_t rows, std::size_t inner,
                    std::size_t columns, float* out) {
  const KernelSet& kernels = kernel_set();
  const std::size_t tile_rows = kernels.tile_rows;
  const std::size_t tile_columns = kernels.tile_columns;
  const std::size_t row_panels = divided_up(rows, tile_rows);
  const std::size_t column_panels = divided_up(columns, tile_columns);

  panels.right.resize(column_panels * tile_columns * inner);
  const auto pack = [&](std::size_t panel, std::size_t strip) {
    const std::size_t first = panel * tile_columns;
    float* const packed = panels.right.data() + strip * tile_columns * inner;
    pack_panel(kernels, right, right.transposed, first, std::min(tile_columns, columns - first),
               tile_columns, inner, packed);
    return packed;
  };
  // Columns of a panel in the rows of the row panels [begin, end).
  const auto multiply = [&](std::size_t panel, const float* packed, std::size_t begin,
                            std::size_t end) {
    const std::size_t first = panel * tile_columns;
    const std::size_t count = std::min(tile_columns, columns - first);
    for (std::size_t row_panel = begin; row_panel < end; ++row_panel) {
      const std::size_t row = row_panel * tile_rows;
      const std::size_t height = std::min(tile_rows, rows - row);
      const float* const panel_rows = left.data() + row * inner;
      float* const place = out + row * columns + first;
      if (height == tile_rows && count == tile_columns) {
        kernels.multiply_long(inner, panel_rows, packed, place, columns);
        continue;
      }
      float tile[kLargestTileRows * kLargestTileColumns];
      kernels.multiply_long(inner, panel_rows, packed, tile, tile_columns);
      for (std::size_t i = 0; i < height; ++i) {
        std::copy_n(tile + i * tile_columns, count, place + i * columns);
      }
    }
  };
  const std::size_t threads = runtime.pool.size();
  if (threads <= column_panels) {
    Strips strips(column_panels, panels.strips);
    runtime.pool.run(column_panels, [&](std::size_t panel) {
      const std::size_t strip = strips.take();
      multiply(panel, pack(panel, strip), 0, row_panels);
      strips.give_back(strip);
    });
    return;
  }
  // Fewer panels than threads: several share one.
  const std::size_t blocks = std::min(row_panels, divided_up(2 * threads, column_panels));
  runtime.pool.run(column_panels, [&](std::size_t panel) { pack(panel, panel); });
  runtime.pool.run(column_panels * blocks, [&](std::size_t piece) {
    const std::size_t panel = piece / blocks;
    const std::size_t block = piece % blocks;
    multiply(panel, panels.right.data() + panel * tile_columns * inner, row_panels * block / blocks,
             row_panels * (block + 1) / blocks);
  });
}

}  // namespace alphamargin
