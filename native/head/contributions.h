#pragma once
// (row, class) pairs with a non-zero gradient, sorted by class: the transposed support.

#include <cstdint>

#include "head/solved_rows.h"

namespace alphamargin {

struct Contribution {
  std::int32_t identity;
  std::uint32_t row;
  std::uint32_t slot;  // index into the row's entries, or kTargetSlot
};

inline constexpr std::uint32_t kTargetSlot = 0xffffffffu;

// Contributions of all sparse rows and of the targets of dense rows (which have no entries),
// ascending by identity, within an identity by row. Rows at zero loss contribute nothing.
Buffer<Contribution> sorted_contributions(MemoryAccount& scratch, const SolvedBatch& solved,
                                          std::size_t identities);

// Begin of every run of equal identities, and the end of the last.
Buffer<std::size_t> segment_starts(MemoryAccount& scratch,
                                   const Buffer<Contribution>& contributions);

}  // namespace alphamargin
