#pragma once
// Streams the prototypes past a batch in groups and keeps, for every row, a superset of the classes
// that can matter. The caller turns what a row has kept into a new bound.
//
// Groups depend on the number of identities alone (unless their survivors would fill the memory,
// see GroupCut) and merge in class order, so what a row keeps depends neither on the number of
// threads nor on the rest of the batch (the caller's budget may). Threads share the work by
// classes, so that all rows meet a class while it is in cache, or, where the shadow is small enough
// to stay there for everybody, by rows: then groups need not wait for each other. What rows keep is
// the same.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <mutex>
#include <vector>

#include "common/failure.h"
#include "cpu/kernel_set.h"
#include "cpu/prototype_filter.h"
#include "head/row_blocks.h"

namespace alphamargin {

// The classes a row has kept, ascending, and their approximate cosines. One allocation: a batch has
// many lists, most of them short.
class CandidateList {
 public:
  explicit CandidateList(MemoryAccount& scratch) : memory_(make_buffer<std::byte>(scratch)) {}

  std::size_t size() const { return size_; }
  std::int32_t* identities() { return reinterpret_cast<std::int32_t*>(memory_.data()); }
  const std::int32_t* identities() const {
    return reinterpret_cast<const std::int32_t*>(memory_.data());
  }
  // Within the filter's slack of the true ones.
  float* cosines() { return reinterpret_cast<float*>(memory_.data()) + capacity_; }
  const float* cosines() const {
    return reinterpret_cast<const float*>(memory_.data()) + capacity_;
  }

  // Makes room for `count` in all.
  void reserve(std::size_t count) {
    if (count <= capacity_) return;
    const std::size_t capacity = rounded_up(std::max(count, capacity_ + capacity_ / 2), 16);
    auto memory = make_buffer<std::byte>(*memory_.get_allocator().account(),
                                         capacity * (sizeof(std::int32_t) + sizeof(float)));
    std::copy_n(identities(), size_, reinterpret_cast<std::int32_t*>(memory.data()));
    std::copy_n(cosines(), size_, reinterpret_cast<float*>(memory.data()) + capacity);
    memory_.swap(memory);
    capacity_ = capacity;
  }
  void push_back(std::int32_t identity, float cosine) {
    reserve(size_ + 1);
    identities()[size_] = identity;
    cosines()[size_++] = cosine;
  }
  void keep_above(float bound) {
    size_ = kernel_set().keep_above(bound, size_, identities(), cosines());
  }
  // Leaves the first `count`, or lets what was written behind the last count, in room reserved.
  void resize(std::size_t count) { size_ = count; }
  void release() { *this = CandidateList(*memory_.get_allocator().account()); }

 private:
  Buffer<std::byte> memory_;  // identities, then cosines
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
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
  static constexpr std::size_t kMostSurvivors = std::size_t{1} << 20;

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
  std::mutex mutex_;
  std::vector<std::size_t> counts_;
  std::size_t next_ = 0;
  std::size_t total_ = 0;
  std::size_t end_;
};

// A tightening that begins with bounds it is not sure of: in the end it is asked for every row
// whether to stream it again from first_bound(row) on, with an empty list.
template <class Tighten>
concept Restarting = requires(Tighten& tighten, std::size_t row, CandidateList& list) {
  { tighten.must_restart(row, list) } -> std::same_as<bool>;
  { tighten.first_bound(row) } -> std::same_as<float>;
};

// Calls tighten(row, list) → new bound for rows whose list has doubled since the last time and for
// all at the end, rows in parallel; it may shrink the list. A bound of +∞ ends the row. `bounds`
// [B] are the bounds to begin with; `exclude[row]` (or −1) is never kept: the `excluded` identities
// from exclude[row]·excluded on.
template <class Tighten>
class CandidateStream {
 public:
  CandidateStream(Runtime& runtime, MemoryAccount& scratch, PrototypeFilter& filter,
                  std::size_t rows, std::size_t identities, const std::int32_t* exclude,
                  std::int32_t excluded, Buffer<float>& bounds, std::vector<CandidateList>& lists,
                  const Cancellation& cancellation, Tighten& tighten)
      : runtime_(runtime),
        scratch_(scratch),
        filter_(filter),
        rows_(rows),
        identities_(identities),
        exclude_(exclude),
        excluded_(excluded),
        bounds_(bounds),
        lists_(lists),
        cancellation_(cancellation),
        tighten_(tighten),
        solved_(rows, 0) {}

  // Whether by_rows() is the faster way: every block of rows reads the whole shadow. Not a question
  // of how many threads there are: what is counted should not depend on it.
  bool fits_rows() const {
    if (!filter_.has_shadow() || filter_.panel_count() < kFewestPanels ||
        identities_ * filter_.bytes_per_identity() > kCachedBytes) {
      return false;
    }
    // Nor may a group end early: that depends on all rows.
    std::size_t largest = 0;
    for (std::size_t begin = 0; begin < identities_;) {
      const std::size_t end = group_at(begin).end;
      largest = std::max(largest, end - begin);
      begin = end;
    }
    return filter_.panel_count() * filter_.panel_rows() * largest <= GroupCut::kMostSurvivors;
  }

  // Threads take pieces of a group, then panels of rows, group after group.
  StreamStats by_classes() {
    StreamStats stats;
    do {
      pass_by_classes(stats);
    } while (restart(0, filter_.panel_count()));
    return stats;
  }

  // Threads take blocks of rows, each of which meets all groups; then finish(row) of its rows, with
  // the function that make_finish() gives every thread.
  template <class MakeFinish>
  StreamStats by_rows(const MakeFinish& make_finish) {
    const std::size_t panels = filter_.panel_count();
    // One for each thread: every block reads all that is looked at again. They go through the
    // classes side by side, so that what one has brought from memory is near for the others.
    const std::size_t blocks = std::min(panels, runtime_.pool.size());
    std::vector<std::size_t> survivors(blocks, 0);
    std::vector<std::size_t> passes(blocks, 0);
    std::vector<std::size_t> looks(blocks, 0);
    cancellation_.check();
    const auto stream = [&](std::size_t block) -> RowBlocks::RowRange {
      const std::size_t first = panels * block / blocks;
      const std::size_t last = panels * (block + 1) / blocks;
      for (std::size_t panel = first; panel < last; ++panel) reserve(panel);
      do {
        survivors[block] += pass_by_rows(first, last, looks[block]);
        ++passes[block];
      } while (restart(first, last));
      return {first * filter_.panel_rows(), std::min(rows_, last * filter_.panel_rows())};
    };
    RowBlocks(blocks).run(runtime_.pool, stream, make_finish);
    StreamStats stats;
    for (const std::size_t count : survivors) stats.survivors += count;
    stats.bytes_read = *std::max_element(passes.begin(), passes.end()) * identities_ *
                       filter_.bytes_per_identity();
    for (const std::size_t pairs : looks) stats.bytes_read += pairs * filter_.bytes_per_look();
    return stats;
  }

 private:
  // A shadow of this size stays in the processor's last cache while blocks of rows pass over it.
  static constexpr std::size_t kCachedBytes = std::size_t{1} << 22;
  static constexpr std::size_t kFewestPanels = 8;
  // Solving so short a list costs less than the second looks that the better bound saves.
  static constexpr std::size_t kSmallestSolve = 24;

  void pass_by_classes(StreamStats& stats) {
    for (std::size_t begin = 0; begin < identities_;) {
      cancellation_.check();
      const Group group = group_at(begin);
      const std::size_t pieces = (group.end - begin + group.piece - 1) / group.piece;
      std::vector<PieceHits> found(pieces, PieceHits(scratch_));
      GroupCut cut(pieces);
      filter_.set_bounds(bounds_.data(), 0, filter_.panel_count());
      runtime_.pool.run(pieces, [&](std::size_t piece) {
        if (cut.beyond(piece)) return;
        const std::size_t first = begin + piece * group.piece;
        FilterRoom room(scratch_);
        filter_.run(first, std::min(group.end, first + group.piece), 0, filter_.panel_count(), room,
                    found[piece]);
        cut.complete(piece, found[piece].hits.size());
      });
      const std::size_t kept = cut.pieces();
      const std::size_t end = std::min(group.end, begin + kept * group.piece);
      for (std::size_t i = 0; i < kept; ++i) {
        stats.survivors += found[i].hits.size();
        stats.bytes_read += found[i].prototypes * filter_.bytes_per_look();
      }
      stats.bytes_read += (end - begin) * filter_.bytes_per_identity();
      runtime_.pool.run(filter_.panel_count(), [&](std::size_t panel) {
        if (begin == 0) reserve(panel);
        for (std::size_t piece = 0; piece < kept; ++piece) {
          merge(found[piece], panel, 0, begin + piece * group.piece, end);
        }
        tighten_panel(panel, end == identities_);
      });
      begin = end;
    }
  }

  // Of the panels [first, last); returns the survivors. Adds to `looks` the pairs that were looked
  // at again.
  std::size_t pass_by_rows(std::size_t first, std::size_t last, std::size_t& looks) {
    std::size_t survivors = 0;
    PieceHits found(scratch_);
    FilterRoom room(scratch_);
    for (std::size_t begin = 0; begin < identities_;) {
      const Group group = group_at(begin);
      filter_.set_bounds(bounds_.data(), first, last);
      for (; begin < group.end; begin = std::min(begin + group.piece, group.end)) {
        const std::size_t end = std::min(begin + group.piece, group.end);
        found.hits.clear();
        filter_.run(begin, end, first, last, room, found);
        survivors += found.hits.size();
        for (std::size_t panel = first; panel < last; ++panel) {
          merge(found, panel, first, begin, end);
        }
      }
      for (std::size_t panel = first; panel < last; ++panel) {
        tighten_panel(panel, begin == identities_);
      }
    }
    looks += found.pairs;
    return survivors;
  }

  // Prepares another pass over the rows of the panels [first, last) that need one. False: none
  // does.
  bool restart(std::size_t first, std::size_t last) {
    if constexpr (Restarting<Tighten>) {
      const std::size_t end = std::min(rows_, last * filter_.panel_rows());
      std::vector<std::size_t> again;
      for (std::size_t row = first * filter_.panel_rows(); row < end; ++row) {
        if (tighten_.must_restart(row, lists_[row])) again.push_back(row);
      }
      if (again.empty()) return false;
      std::fill(bounds_.begin() + static_cast<std::ptrdiff_t>(first * filter_.panel_rows()),
                bounds_.begin() + static_cast<std::ptrdiff_t>(end), INFINITY);
      for (const std::size_t row : again) {
        lists_[row].resize(0);
        solved_[row] = 0;
        bounds_[row] = tighten_.first_bound(row);
      }
      return true;
    }
    return false;
  }

  struct Group {
    std::size_t end;
    std::size_t piece;  // identities that the filter takes at a time
  };
  Group group_at(std::size_t begin) const {
    const std::size_t size =
        begin == 0 ? kFirstGroup : std::min(3 * begin, largest_group(identities_));
    // Short groups are cut finer, so that every thread has some of them.
    return {std::min(identities_, begin + size),
            size < 8 * kPieceIdentities ? kPieceIdentities / 2 : kPieceIdentities};
  }

  std::size_t end_row(std::size_t panel) const {
    return std::min(rows_, (panel + 1) * filter_.panel_rows());
  }

  void reserve(std::size_t panel) {
    for (std::size_t row = panel * filter_.panel_rows(); row < end_row(panel); ++row) {
      lists_[row].reserve(2 * kFirstGroup);
    }
  }

  // Appends a panel's hits among identities [base, end) to the lists of its rows.
  void merge(const PieceHits& found, std::size_t panel, std::size_t first_panel, std::size_t base,
             std::size_t end) {
    const std::size_t first_row = panel * filter_.panel_rows();
    const std::size_t place = panel - first_panel;
    const FilterHit* const first = found.hits.data() + (place == 0 ? 0 : found.ends[place - 1]);
    const FilterHit* const last = found.hits.data() + found.ends[place];
    if (first == last) return;
    std::size_t counts[kRowsPerPlace] = {};
    for (const FilterHit* hit = first; hit < last; ++hit) ++counts[hit->place % kRowsPerPlace];
    struct Place {
      std::int32_t* identity;
      float* cosine;
      std::uint32_t excluded;  // the first
    } places[kRowsPerPlace];
    for (std::size_t row = first_row; row < end_row(panel); ++row) {
      CandidateList& list = lists_[row];
      const std::size_t size = list.size();
      list.reserve(size + counts[row - first_row]);
      places[row - first_row] = {
          list.identities() + size, list.cosines() + size,
          static_cast<std::uint32_t>(exclude_ == nullptr ? 0 : exclude_[row] * excluded_)};
    }
    const auto number = static_cast<std::uint32_t>(exclude_ == nullptr ? 0 : excluded_);
    for (const FilterHit* hit = first; hit < last; ++hit) {
      const std::size_t identity = base + hit->place / kRowsPerPlace;
      const std::size_t row = hit->place % kRowsPerPlace;
      // The shadow is filled up with zeros beyond the last identity, a panel beyond the last row.
      if (identity >= end || first_row + row >= rows_) continue;
      Place& to = places[row];
      if (static_cast<std::uint32_t>(identity) - to.excluded < number) continue;
      *to.identity++ = static_cast<std::int32_t>(identity);
      *to.cosine++ = hit->cosine;
    }
    for (std::size_t row = first_row; row < end_row(panel); ++row) {
      CandidateList& list = lists_[row];
      list.resize(static_cast<std::size_t>(places[row - first_row].cosine - list.cosines()));
    }
  }

  void tighten_panel(std::size_t panel, bool is_last) {
    for (std::size_t row = panel * filter_.panel_rows(); row < end_row(panel); ++row) {
      if (bounds_[row] == INFINITY) continue;
      if (!is_last && lists_[row].size() < std::max(kSmallestSolve, 2 * solved_[row])) continue;
      bounds_[row] = tighten_(row, lists_[row]);
      solved_[row] = lists_[row].size();
    }
  }

  Runtime& runtime_;
  MemoryAccount& scratch_;
  PrototypeFilter& filter_;
  std::size_t rows_;
  std::size_t identities_;
  const std::int32_t* exclude_;
  std::int32_t excluded_;
  Buffer<float>& bounds_;
  std::vector<CandidateList>& lists_;
  const Cancellation& cancellation_;
  Tighten& tighten_;
  std::vector<std::size_t> solved_;  // candidates after the last tightening [B]
};

}  // namespace alphamargin
