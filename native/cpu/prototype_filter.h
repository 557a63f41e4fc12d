#pragma once
// The filter: all cosines of a range of prototypes with a batch, one compare each, nothing stored
// but the survivors.
//
//   survivor (i, j)  ⇔  c̃_ij > bounds[i],   |c̃_ij − c_ij| ≤ certified_slack(D)
//
// Shapes: prototypes [C, D], batch [B, D], bounds [B padded to whole panels].
// Accumulation: float32 over ascending k; an element does not depend on its place in a tile.
// Traffic: every prototype row is read once, packed into one panel in cache, and met by all B rows;
// no [B, C] array exists.

#include <cstdint>

#include "cpu/embeddings.h"

namespace alphamargin {

struct PrototypeView {
  const float* rows;    // raw [C, D]
  const double* norms;  // ‖w‖ [C]
  std::size_t identities;
  std::size_t dim;

  const float* row(std::size_t identity) const { return rows + identity * dim; }
};

struct Survivor {
  std::uint32_t row;
  std::int32_t identity;
  float cosine;  // approximate
};

// Rounding of x̂ and ŵ (2·2^-24 each) and of a D-term float32 sum (D·2^-24), with room to spare.
inline double certified_slack(std::size_t dim) { return (static_cast<double>(dim) + 8) * 0x1p-24; }

// Bounds for every row of every panel; the padding rows can have no survivors.
Buffer<float> make_bounds(MemoryAccount& scratch, const Embeddings& batch, float initial);

// Appends the survivors among identities [begin, end), in order of panel, row, identity.
void filter_prototypes(const PrototypeView& prototypes, const Embeddings& batch,
                       const float* bounds, std::size_t begin, std::size_t end,
                       MemoryAccount& scratch, Buffer<Survivor>& survivors);

// Cosine of an embedding with a prototype, float64 from the float32 originals.
double exact_cosine(const PrototypeView& prototypes, const Embeddings& batch, std::size_t row,
                    std::size_t identity);

}  // namespace alphamargin
