#include "head/class_segments.h"

#include "cpu/row_pieces.h"
#include "head/solved_rows.h"

namespace alphamargin {
namespace {

// Where the entries of every row cross from one range into the next: slots [rows, ranges + 1].
class RowCuts {
 public:
  RowCuts(const HeadInputs& inputs, const SolvedBatch& solved, std::size_t ranges)
      : solved_(solved),
        ranges_(ranges),
        slots_(make_buffer<std::uint32_t>(inputs.scratch, solved.rows.size() * (ranges + 1))) {
    const auto below = [](const SupportEntry& entry, std::size_t identity) {
      return static_cast<std::size_t>(entry.identity) < identity;
    };
    for_row_pieces(
        inputs.runtime, solved.rows.size(), 64 * ranges, [&](std::size_t first, std::size_t last) {
          for (std::size_t row = first; row < last; ++row) {
            const Buffer<SupportEntry>& entries = solved.entries[row];
            std::uint32_t* slots = slots_.data() + row * (ranges + 1);
            auto place = entries.begin();
            for (std::size_t range = 0; range < ranges; ++range) {
              place =
                  std::lower_bound(place, entries.end(),
                                   class_range_begin(inputs.prototypes.identities, range), below);
              slots[range] = static_cast<std::uint32_t>(place - entries.begin());
            }
            slots[ranges] = static_cast<std::uint32_t>(entries.size());
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
  const std::size_t identities = inputs.prototypes.identities;
  const std::size_t count = class_range_count(identities);
  std::vector<ClassRange> ranges(count, ClassRange(inputs.scratch));
  const RowCuts cuts(inputs, solved, count);
  inputs.runtime.pool.run(count, [&](std::size_t index) {
    const std::size_t begin = class_range_begin(identities, index);
    const std::size_t end = class_range_begin(identities, index + 1);
    ClassRange& range = ranges[index];
    const auto is_target_here = [&](std::size_t row) {
      const std::int32_t label = solved.rows[row].label_row;
      return label >= 0 && static_cast<std::size_t>(label) >= begin &&
             static_cast<std::size_t>(label) < end;
    };
    // How many pairs each class has, then where they go.
    auto places = make_buffer<std::uint32_t>(inputs.scratch, end - begin);
    std::fill(places.begin(), places.end(), 0u);
    cuts.visit(index, [&](std::size_t row, std::uint32_t first, std::uint32_t last) {
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
    cuts.visit(index, [&](std::size_t row, std::uint32_t first, std::uint32_t last) {
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
