#pragma once
// out [M, N] = left [M, K] · right [K, N] in float32, on packed panels.
//
// Accumulation: float32 over ascending k inside blocks of kDepthBlock, blocks in float64: the error
// does not grow with K, which a softmax of scale 64 would magnify. Independent of the number of
// threads and of M, so a row of a product of many rows is the same bits as a product of that row
// alone. Traffic: each operand is read once and written once packed (scratch (M + N)·K floats).

#include <cstddef>

#include "common/runtime.h"

namespace alphamargin {

// A matrix as it lies in memory. With `transposed`, stored rows are the matrix's columns.
struct MatrixView {
  const float* data;
  std::size_t stride;  // floats between stored rows
  bool transposed = false;
  const float* row_factors = nullptr;  // one for each stored row; nullptr: all 1
};

// Packed operands, kept between products of one call so that a loop over chunks allocates once.
struct ProductPanels {
  explicit ProductPanels(MemoryAccount& scratch)
      : left(make_buffer<float>(scratch)),
        right(make_buffer<float>(scratch)),
        strips(make_buffer<std::size_t>(scratch)) {}
  Buffer<float> left;
  Buffer<float> right;
  Buffer<std::size_t> strips;  // parts of `right` that are free

  // Room for a product of this size, for loops that may not fail once they have begun.
  void reserve(std::size_t rows, std::size_t inner, std::size_t columns);
};

void matrix_product(Runtime& runtime, ProductPanels& panels, const MatrixView& left,
                    const MatrixView& right, std::size_t rows, std::size_t inner,
                    std::size_t columns, float* out);

// The same in two parts, for a left operand that meets several right ones: pack_left once, then
// products with it. `panels` are scratch for the right operand.
void pack_left(Runtime& runtime, const MatrixView& left, std::size_t rows, std::size_t inner,
               Buffer<float>& packed);
void packed_product(Runtime& runtime, const Buffer<float>& left, ProductPanels& panels,
                    const MatrixView& right, std::size_t rows, std::size_t inner,
                    std::size_t columns, float* out);

}  // namespace alphamargin
