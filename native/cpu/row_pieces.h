#pragma once
// Work on [B, C] arrays is cut into pieces of whole rows.

#include <algorithm>
#include <cstddef>

#include "common/runtime.h"

namespace alphamargin {

// Runs body(first, last) over pieces of rows, each at least `kSmallest` elements of work, so that a
// thousand short rows do not pay a thousand wake-ups.
template <class Body>
void for_row_pieces(Runtime& runtime, std::size_t rows, std::size_t row_length, const Body& body) {
  constexpr std::size_t kSmallest = 4096;
  const std::size_t per_piece =
      std::max<std::size_t>(1, kSmallest / std::max<std::size_t>(1, row_length));
  const std::size_t pieces = (rows + per_piece - 1) / per_piece;
  runtime.pool.run(pieces, [&](std::size_t piece) {
    body(piece * per_piece, std::min(rows, (piece + 1) * per_piece));
  });
}

}  // namespace alphamargin
