#pragma once
// A batch of embeddings as the head's kernels want it: raw rows, norms, and unit rows.

#include <cstddef>
#include <cstdint>

#include "common/real_matrix.h"
#include "common/runtime.h"

namespace alphamargin {

// Norms outside this range would lose the direction of a vector in float32; such rows are refused.
inline constexpr double kSmallestNorm = 1e-30;
inline constexpr double kLargestNorm = 1e30;

struct Embeddings {
  std::size_t rows = 0;
  std::size_t dim = 0;
  const float* values = nullptr;  // raw [B, D]; owned by `converted` for float16 input
  Buffer<float> converted;
  Buffer<double> norms;  // ‖x‖, float64
  Buffer<float> unit;    // x̂ [B, D]

  explicit Embeddings(MemoryAccount& account)
      : converted(make_buffer<float>(account)),
        norms(make_buffer<double>(account)),
        unit(make_buffer<float>(account)) {}

  const float* row(std::size_t index) const { return values + index * dim; }
  const float* unit_row(std::size_t index) const { return unit.data() + index * dim; }
};

// Checks every row (finite, norm in range; the error names row and argument) and prepares it. Rows
// whose label, if there are labels, is kIgnoredLabel are not read: the first axis takes their place
// (zeros would tie with every prototype).
Embeddings prepare_embeddings(Runtime& runtime, MemoryAccount& scratch, const RealMatrix& input,
                              const char* argument, const std::int32_t* labels = nullptr);

// x̂ interleaved for the register tiles of float32: panels of tile_rows, missing rows zero.
Buffer<float> float_panels(Runtime& runtime, MemoryAccount& scratch, const Embeddings& batch);

// ‖v‖ in float64; throws unless it lies in [kSmallestNorm, kLargestNorm].
double checked_norm(const char* argument, std::size_t row, const float* values, std::size_t dim);

}  // namespace alphamargin
