#pragma once
// Streams the prototypes past a batch in groups and keeps, for every row, a superset of the classes
// that can matter. The caller turns what a row has kept into a new bound.
//
// Groups depend on the number of identities alone and merge in class order, so what a row keeps
// depends neither on the number of threads nor on the rest of the batch (the caller's budget may).

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/failure.h"
#include "cpu/prototype_filter.h"

namespace alphamargin {

struct Candidate {
  std::int32_t identity;
  float cosine;  // approximate, within certified_slack of the true one
};

using CandidateList = Buffer<Candidate>;

struct StreamStats {
  std::size_t survivors = 0;
};

// A group is filtered with fixed bounds, in pieces that run in parallel. The first groups are
// short, so that bounds are good before most of the prototypes are seen.
inline constexpr std::size_t kPieceIdentities = 128;
inline constexpr std::size_t kFirstGroup = 256;
inline constexpr std::size_t kLargestGroup = 16384;

// Calls tighten(row, list) → new bound for rows whose list has doubled since the last time, in
// parallel over rows; it may shrink the list. A bound of +∞ ends the row.
// `exclude[row]` (or −1) is never kept.
template <class Tighten>
StreamStats stream_candidates(Runtime& runtime, MemoryAccount& scratch,
                              const PrototypeView& prototypes, const Embeddings& batch,
                              const std::int32_t* exclude, Buffer<float>& bounds,
                              std::vector<CandidateList>& lists, const Cancellation& cancellation,
                              const Tighten& tighten) {
  constexpr std::size_t kSmallestSolve = 256;
  StreamStats stats;
  std::vector<std::size_t> solved(batch.rows, 0);
  for (std::size_t begin = 0; begin < prototypes.identities;) {
    cancellation.check();
    const std::size_t group = begin == 0 ? kFirstGroup : std::min(3 * begin, kLargestGroup);
    const std::size_t end = std::min(prototypes.identities, begin + group);
    const std::size_t pieces = (end - begin + kPieceIdentities - 1) / kPieceIdentities;
    std::vector<Buffer<Survivor>> found(pieces, make_buffer<Survivor>(scratch));
    runtime.pool.run(pieces, [&](std::size_t piece) {
      const std::size_t first = begin + piece * kPieceIdentities;
      filter_prototypes(prototypes, batch, bounds.data(), first,
                        std::min(end, first + kPieceIdentities), scratch, found[piece]);
    });
    for (Buffer<Survivor>& piece : found) {
      stats.survivors += piece.size();
      for (const Survivor& survivor : piece) {
        if (exclude != nullptr && survivor.identity == exclude[survivor.row]) continue;
        lists[survivor.row].push_back({survivor.identity, survivor.cosine});
      }
      piece = make_buffer<Survivor>(scratch);
    }
    begin = end;
    const bool last = begin == prototypes.identities;
    runtime.pool.run(batch.rows, [&](std::size_t row) {
      if (bounds[row] == INFINITY) return;
      if (!last && lists[row].size() < std::max(kSmallestSolve, 2 * solved[row])) return;
      bounds[row] = tighten(row, lists[row]);
      solved[row] = lists[row].size();
    });
  }
  return stats;
}

}  // namespace alphamargin
