#include "head/class_segments.h"

#include <algorithm>
#include <bit>

#include "cpu/row_pieces.h"
#include "head/solved_rows.h"

namespace alphamargin {
namespace {

// Where classes are cut into ranges: the parts, or equal pieces of them.
class RangeCuts {
 public:
  RangeCuts(std::size_t identities, std::size_t threads) : identities_(identities) {
    constexpr std::size_t kMostOfPart = 4;
    count_ = class_part_count(identities);
    if (threads <= count_) return;
    count_ *= std::bit_floor(std::clamp<std::size_t>(identities / 1024 / count_, 1, kMostOfPart));
  }

  std::size_t count() const { return count_; }
  // First class of a range, or of the one behind the last.
  std::size_t begin(std::size_t range) const { return identities_ * range / count_; }

 private:
  std::size_t identities_;
  std::size_t count_;
};

// Where the entries of every row cross from one range into the next: slots [rows, ranges + 1].
class RowCuts {
 public:
  RowCuts(const HeadInputs& inputs, const SolvedBatch& solved, const RangeCuts& cuts)
      : solved_(solved),
        ranges_(cuts.count()),
        slots_(make_buffer<std::uint32_t>(inputs.scratch, solved.rows.size() * (ranges_ + 1))) {
    const auto below = [](const SupportEntry& entry, std::size_t identity) {
      return static_cast<std::size_t>(entry.identity) < identity;
    };
    for_row_pieces(inputs.runtime, solved.rows.size(), 64 * ranges_,
                   [&](std::size_t first, std::size_t last) {
                     for (std::size_t row = first; row < last; ++row) {
                       const Buffer<SupportEntry>& entries = solved.entries[row];
                       std::uint32_t* slots = slots_.data() + row * (ranges_ + 1);
                       auto place = entries.begin();
                       for (std::size_t range = 0; range < ranges_; ++range) {
                         place = std::lower_bound(place, entries.end(), cuts.begin(range), below);
                         slots[range] = static_cast<std::uint32_t>(place - entries.begin());
                       }
                       slots[ranges_] = static_cast<std::uint32_t>(entries.size());
                     }
                   });
  }

  // Calls visit(row, first slot, end slot) with the entries of every row in a range.
  template <class Visit>
  void visit(std::size_t range, const Visit& visit) const {
    for (std::size_t row = 0; row < solved_.rows.size(); ++row) {
      const std::uint32_t* slots = slots_.data() + row * (ranges_ + 1) + range;
      visit(row, slots[0], slots[1]);
    }
  }

 private:
  const SolvedBatch& solved_;
  std::size_t ranges_;
  Buffer<std::uint32_t> slots_;
};

}  // namespace

std::vector<ClassRange> class_ranges(const HeadInputs& inputs, const SolvedBatch& solved) {
  const RangeCuts cuts(inputs.prototypes.identities, inputs.runtime.pool.size());
  std::vector<ClassRange> ranges(cuts.count(), ClassRange(inputs.scratch));
  const RowCuts row_cuts(inputs, solved, cuts);
  inputs.runtime.pool.run(cuts.count(), [&](std::size_t index) {
    const std::size_t begin = cuts.begin(index);
    const std::size_t end = cuts.begin(index + 1);
    ClassRange& range = ranges[index];
    const auto is_target_here = [&](std::size_t row) {
      const std::int32_t label = solved.rows[row].label_row;
      return label >= 0 && static_cast<std::size_t>(label) >= begin &&
             static_cast<std::size_t>(label) < end;
    };
    // How many pairs each class has, then where they go.
    auto places = make_buffer<std::uint32_t>(inputs.scratch, end - begin);
    std::fill(places.begin(), places.end(), 0u);
    row_cuts.visit(index, [&](std::size_t row, std::uint32_t first, std::uint32_t last) {
      const SupportEntry* const entries = solved.entries[row].data();
      for (std::uint32_t slot = first; slot < last; ++slot) {
        ++places[static_cast<std::size_t>(entries[slot].identity) - begin];
      }
      if (is_target_here(row))
        ++places[static_cast<std::size_t>(solved.rows[row].label_row) - begin];
    });
    std::uint32_t total = 0;
    for (std::size_t j = 0; j < places.size(); ++j) {
      if (places[j] == 0) continue;
      range.segments.push_back({static_cast<std::int32_t>(begin + j), total, total + places[j]});
      total += places[j];
      places[j] = total - places[j];
    }
    range.pairs.resize(total);
    row_cuts.visit(index, [&](std::size_t row, std::uint32_t first, std::uint32_t last) {
      const auto index_of_row = static_cast<std::uint32_t>(row);
      const SupportEntry* const entries = solved.entries[row].data();
      for (std::uint32_t slot = first; slot < last; ++slot) {
        const auto identity = static_cast<std::size_t>(entries[slot].identity);
        range.pairs[places[identity - begin]++] = {index_of_row, slot};
      }
      if (is_target_here(row)) {
        const auto label = static_cast<std::size_t>(solved.rows[row].label_row);
        range.pairs[places[label - begin]++] = {index_of_row, kTargetSlot};
      }
    });
  });
  return ranges;
}

}  // namespace alphamargin
