#include "head/contributions.h"

#include <array>

namespace alphamargin {

Buffer<Contribution> sorted_contributions(MemoryAccount& scratch, const SolvedBatch& solved,
                                          std::size_t identities) {
  std::size_t count = 0;
  for (std::size_t row = 0; row < solved.rows.size(); ++row) {
    if (solved.rows[row].others > 0) count += solved.entries[row].size() + 1;
  }
  auto pairs = make_buffer<Contribution>(scratch);
  pairs.reserve(count);
  for (std::size_t row = 0; row < solved.rows.size(); ++row) {
    const SolvedRow& state = solved.rows[row];
    if (!(state.others > 0)) continue;
    const auto index = static_cast<std::uint32_t>(row);
    for (std::size_t slot = 0; slot < solved.entries[row].size(); ++slot) {
      pairs.push_back(
          {solved.entries[row][slot].identity, index, static_cast<std::uint32_t>(slot)});
    }
    pairs.push_back({state.label, index, kTargetSlot});
  }
  // Stable counting sort, 11 bits of the identity at a time; rows are in order already.
  constexpr unsigned kBits = 11;
  constexpr std::uint32_t kMask = (1u << kBits) - 1;
  auto other = make_buffer<Contribution>(scratch, pairs.size());
  for (unsigned shift = 0; shift < 32 && (identities - 1) >> shift != 0; shift += kBits) {
    std::array<std::size_t, kMask + 2> places{};
    for (const Contribution& pair : pairs) {
      ++places[((static_cast<std::uint32_t>(pair.identity) >> shift) & kMask) + 1];
    }
    for (std::size_t digit = 1; digit < places.size(); ++digit) places[digit] += places[digit - 1];
    for (const Contribution& pair : pairs) {
      other[places[(static_cast<std::uint32_t>(pair.identity) >> shift) & kMask]++] = pair;
    }
    pairs.swap(other);
  }
  return pairs;
}

Buffer<std::size_t> segment_starts(MemoryAccount& scratch,
                                   const Buffer<Contribution>& contributions) {
  auto starts = make_buffer<std::size_t>(scratch);
  for (std::size_t i = 0; i < contributions.size(); ++i) {
    if (i == 0 || contributions[i].identity != contributions[i - 1].identity) starts.push_back(i);
  }
  starts.push_back(contributions.size());
  return starts;
}

}  // namespace alphamargin
