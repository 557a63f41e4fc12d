#pragma once
// Streams the prototypes past a batch in groups and keeps, for every row, a superset of the classes
// that can matter. The caller turns what a row has kept into a new bound.
//
// Groups depend on the number of identities alone (unless their survivors would fill the memory,
// see GroupCut) and merge in class order, so what a row keeps depends neither on the number of
// threads nor on the rest of the batch (the caller's budget may).

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

#include "common/failure.h"
#include "cpu/kernel_set.h"
#include "cpu/prototype_filter.h"

namespace alphamargin {

// The classes a row has kept, ascending, and their approximate cosines.
struct CandidateList {
  explicit CandidateList(MemoryAccount& scratch)
      : identities(make_buffer<std::int32_t>(scratch)), cosines(make_buffer<float>(scratch)) {}
  void reserve(std::size_t count) {
    identities.reserve(count);
    cosines.reserve(count);
  }
  Buffer<std::int32_t> identities;
  Buffer<float> cosines;  // within the filter's slack of the true ones

  std::size_t size() const { return identities.size(); }
  void push_back(std::int32_t identity, float cosine) {
    identities.push_back(identity);
    cosines.push_back(cosine);
  }
  void keep_above(float bound) {
    resize(kernel_set().keep_above(bound, size(), identities.data(), cosines.data()));
  }
  void resize(std::size_t count) {
    identities.resize(count);
    cosines.resize(count);
  }
};

inline constexpr std::size_t kBytesPerListed = sizeof(std::int32_t) + sizeof(float);

struct StreamStats {
  std::size_t survivors = 0;
  std::size_t bytes_read = 0;
};

// A group is filtered with fixed bounds, in pieces that run in parallel. The first groups are
// short, so that bounds are good before most of the prototypes are seen; the last are a sixteenth
// of all, within limits, so that threads seldom wait for each other.
inline constexpr std::size_t kFirstGroup = kPieceIdentities;
inline std::size_t largest_group(std::size_t identities) {
  return rounded_up(std::clamp<std::size_t>(identities / 16, 1 << 14, 1 << 17), kPieceIdentities);
}

// Ends a group early when its survivors exceed a limit: bounds are so poor that solving comes
// first. The end is the first piece at which all pieces up to it exceed the limit, whatever the
// order in which threads complete them.
class GroupCut {
 public:
  explicit GroupCut(std::size_t pieces) : counts_(pieces, kPending), end_(pieces) {}

  // Whether a piece lies beyond the end that is known by now.
  bool beyond(std::size_t piece) {
    const std::lock_guard lock(mutex_);
    return piece >= end_;
  }
  void complete(std::size_t piece, std::size_t survivors) {
    const std::lock_guard lock(mutex_);
    counts_[piece] = survivors;
    while (next_ < end_ && counts_[next_] != kPending) {
      total_ += counts_[next_];
      ++next_;
      if (total_ > kMostSurvivors) end_ = next_;
    }
  }
  // Pieces that count, once all have run.
  std::size_t pieces() const { return end_; }

 private:
  static constexpr std::size_t kPending = ~std::size_t{0};
  static constexpr std::size_t kMostSurvivors = std::size_t{1} << 20;
  std::mutex mutex_;
  std::vector<std::size_t> counts_;
  std::size_t next_ = 0;
  std::size_t total_ = 0;
  std::size_t end_;
};

// Calls tighten(row, list) → new bound for rows whose list has doubled since the last time and for
// all at the end, in parallel over panels of rows; it may shrink the list. A bound of +∞ ends the
// row. `bounds` [B] are the bounds to begin with; `exclude[row]` (or −1) is never kept: the
// `excluded` identities from exclude[row]·excluded on.
template <class Tighten>
StreamStats stream_candidates(Runtime& runtime, MemoryAccount& scratch, PrototypeFilter& filter,
                              std::size_t rows, std::size_t identities, const std::int32_t* exclude,
                              std::int32_t excluded, Buffer<float>& bounds,
                              std::vector<CandidateList>& lists, const Cancellation& cancellation,
                              Tighten&& tighten) {
  constexpr std::size_t kSmallestSolve = kFirstGroup / 2;
  StreamStats stats;
  std::vector<std::size_t> solved(rows, 0);
  for (std::size_t begin = 0; begin < identities;) {
    cancellation.check();
    const std::size_t group =
        begin == 0 ? kFirstGroup : std::min(3 * begin, largest_group(identities));
    const std::size_t last = std::min(identities, begin + group);
    // Short groups are cut finer, so that every thread has some of them.
    const std::size_t piece_size =
        group < 8 * kPieceIdentities ? kPieceIdentities / 2 : kPieceIdentities;
    const std::size_t pieces = (last - begin + piece_size - 1) / piece_size;
    std::vector<PieceHits> found(pieces, PieceHits(scratch));
    GroupCut cut(pieces);
    filter.set_bounds(bounds.data());
    runtime.pool.run(pieces, [&](std::size_t piece) {
      if (cut.beyond(piece)) return;
      const std::size_t first = begin + piece * piece_size;
      filter.run(first, std::min(last, first + piece_size), found[piece]);
      cut.complete(piece, found[piece].hits.size());
    });
    const std::size_t kept = cut.pieces();
    const std::size_t end = std::min(last, begin + kept * piece_size);
    for (std::size_t piece = 0; piece < kept; ++piece) stats.survivors += found[piece].hits.size();
    stats.bytes_read += (end - begin) * filter.bytes_per_identity();
    const bool done = end == identities;

    runtime.pool.run(filter.panel_count(), [&](std::size_t panel) {
      const std::size_t first_row = panel * filter.panel_rows();
      const std::size_t last_row = std::min(rows, first_row + filter.panel_rows());
      if (begin == 0) {
        for (std::size_t row = first_row; row < last_row; ++row)
          lists[row].reserve(2 * kFirstGroup);
      }
      for (std::size_t piece = 0; piece < kept; ++piece) {
        const PieceHits& hits = found[piece];
        const std::size_t base = begin + piece * piece_size;
        for (std::size_t i = panel == 0 ? 0 : hits.ends[panel - 1]; i < hits.ends[panel]; ++i) {
          const std::size_t identity = base + hits.hits[i].place / kRowsPerPlace;
          const std::size_t row = first_row + hits.hits[i].place % kRowsPerPlace;
          // The shadow is filled up with zeros beyond the last identity, a panel beyond the last
          // row.
          if (identity >= end || row >= rows) continue;
          const auto own = static_cast<std::int32_t>(identity);
          if (exclude != nullptr && static_cast<std::uint32_t>(own - exclude[row] * excluded) <
                                        static_cast<std::uint32_t>(excluded)) {
            continue;
          }
          lists[row].push_back(static_cast<std::int32_t>(identity), hits.hits[i].cosine);
        }
      }
      for (std::size_t row = first_row; row < last_row; ++row) {
        if (bounds[row] == INFINITY) continue;
        if (!done && lists[row].size() < std::max(kSmallestSolve, 2 * solved[row])) continue;
        bounds[row] = tighten(row, lists[row]);
        solved[row] = lists[row].size();
      }
    });
    begin = end;
  }
  return stats;
}

}  // namespace alphamargin
