#include "head/class_segments.h"

#include "head/solved_rows.h"

namespace alphamargin {
namespace {

// Calls visit(row, first slot, end slot) with the entries of every row in [begin, end).
template <class Visit>
void visit_rows(const SolvedBatch& solved, std::size_t begin, std::size_t end, const Visit& visit) {
  const auto below = [](const SupportEntry& entry, std::size_t identity) {
    return static_cast<std::size_t>(entry.identity) < identity;
  };
  for (std::size_t row = 0; row < solved.rows.size(); ++row) {
    const Buffer<SupportEntry>& entries = solved.entries[row];
    const auto first = std::lower_bound(entries.begin(), entries.end(), begin, below);
    const auto last = std::lower_bound(first, entries.end(), end, below);
    visit(row, first - entries.begin(), last - entries.begin());
  }
}

}  // namespace

std::vector<ClassRange> class_ranges(const HeadInputs& inputs, const SolvedBatch& solved) {
  const std::size_t identities = inputs.prototypes.identities;
  const std::size_t count = class_range_count(identities);
  std::vector<ClassRange> ranges(count, ClassRange(inputs.scratch));
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
    visit_rows(solved, begin, end, [&](std::size_t row, std::ptrdiff_t first, std::ptrdiff_t last) {
      for (std::ptrdiff_t slot = first; slot < last; ++slot) {
        ++places[static_cast<std::size_t>(
                     solved.entries[row][static_cast<std::size_t>(slot)].identity) -
                 begin];
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
    visit_rows(solved, begin, end, [&](std::size_t row, std::ptrdiff_t first, std::ptrdiff_t last) {
      const auto index_of_row = static_cast<std::uint32_t>(row);
      for (std::ptrdiff_t slot = first; slot < last; ++slot) {
        const auto identity =
            static_cast<std::size_t>(solved.entries[row][static_cast<std::size_t>(slot)].identity);
        range.pairs[places[identity - begin]++] = {index_of_row, static_cast<std::uint32_t>(slot)};
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
