#include "cpu/prototype_filter.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

// Rounding of x̂ and ŵ (2·2^-24 each) and of a D-term float32 sum (D·2^-24), with room to spare.
double single_slack(std::size_t dim) { return (static_cast<double>(dim) + 8) * 0x1p-24; }

// Of x̂, of the sums of KernelSet::dot_single and of the division by the norm in float32.
double look_slack(std::size_t dim) { return (static_cast<double>(dim) / 32 + 16) * 0x1p-24; }

// Panels that are filtered before what they leave is looked at again.
constexpr std::size_t kPanelsAtOnce = 16;

// Groups that are filtered for many rows before what they leave is asked for.
constexpr std::size_t kGroupsTogether = 2 * kManyGroups;

// What float32 may lose of a bound's products with scales, as a cosine.
constexpr double kBoundRounding = 1e-6;

}  // namespace

PrototypeFilter::PrototypeFilter(Runtime& runtime, MemoryAccount& scratch,
                                 const PrototypeView& prototypes, const Embeddings& batch)
    : prototypes_(prototypes),
      batch_(batch),
      panel_rows_(prototypes.shadow == nullptr ? kernel_set().tile_rows : kFilterRows),
      panel_count_((batch.rows + panel_rows_ - 1) / panel_rows_),
      takes_many_(kernel_set().filter_many != nullptr && batch.rows > kFilterRows),
      is_active_(panel_count_, 0),
      slacks_(make_buffer<double>(scratch, batch.rows)),
      bounds_(make_buffer<float>(scratch, panel_count_ * panel_rows_)),
      byte_panels_(make_buffer<std::int8_t>(scratch)),
      offsets_(make_buffer<std::int32_t>(scratch)),
      scales_(make_buffer<float>(scratch)),
      residuals_(make_buffer<float>(scratch)),
      lowers_(make_buffer<float>(scratch)),
      spreads_(make_buffer<float>(scratch)),
      panels_(make_buffer<float>(scratch)) {
  if (prototypes.shadow == nullptr) {
    prepare_single(runtime, scratch);
  } else {
    prepare_bytes(runtime);
  }
}

std::size_t PrototypeFilter::bytes_per_identity() const {
  return prototypes_.shadow == nullptr ? prototypes_.dim * sizeof(float)
                                       : shadow_bytes_per_identity(prototypes_.dim);
}

void PrototypeFilter::prepare_bytes(Runtime& runtime) {
  const KernelSet& kernels = kernel_set();
  const std::size_t dim = batch_.dim;
  const std::size_t depth = rounded_up(dim, kChunk);
  const std::size_t rows = panel_count_ * panel_rows_;
  std::fill(slacks_.begin(), slacks_.end(), look_slack(dim));
  // A run may begin with any panel, and what is read beyond its last one is not always a panel.
  byte_panels_.resize(takes_many_ ? (rows + kManyRows) * depth + kManyElements : rows * depth);
  scales_.assign(rows, 1.0f);
  residuals_.assign(rows, 0.0f);
  spreads_.assign(rows, 0.0f);
  lowers_.resize(rows);
  offsets_.assign(rows, 0);
  runtime.pool.run(panel_count_, [&](std::size_t panel) {
    const std::size_t first = panel * panel_rows_;
    const std::size_t count = std::min(panel_rows_, batch_.rows - first);
    const std::size_t panel_stride =
        (count > kFilterRowsShort ? kFilterRows : kFilterRowsShort) * kChunk;
    const std::size_t stride = takes_many_ ? kChunk : panel_stride;
    const std::size_t between_rows = takes_many_ ? depth : kChunk;
    std::int8_t* const target = byte_panels_.data() + first * depth;
    if (count < panel_rows_) std::fill_n(target, panel_rows_ * depth, std::int8_t{0});
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t row = first + i;
      const float* const unit = batch_.unit_row(row);
      const float scale =
          static_cast<float>(kernels.embedding_levels) / kernels.largest_size(unit, dim);
      const Rounding rounding = kernels.quantize(
          unit, scale, dim, stride, 0, reinterpret_cast<std::uint8_t*>(target + i * between_rows));
      scales_[row] = scale;
      residuals_[row] = static_cast<float>(residual_of(rounding, dim) / scale);
      spreads_[row] = scale * (1 + residuals_[row]);
      offsets_[row] = kStoredZero * rounding.sum;
    }
  });
}

void PrototypeFilter::prepare_single(Runtime& runtime, MemoryAccount& scratch) {
  std::fill(slacks_.begin(), slacks_.end(), single_slack(batch_.dim));
  panels_ = float_panels(runtime, scratch, batch_);
}

void PrototypeFilter::set_bounds(const float* bounds, std::size_t first_panel,
                                 std::size_t last_panel) {
  for (std::size_t panel = first_panel; panel < last_panel; ++panel) {
    const float* const end = bounds + std::min(batch_.rows, (panel + 1) * panel_rows_);
    is_active_[panel] = std::any_of(bounds + panel * panel_rows_, end,
                                    [](float bound) { return bound < INFINITY; });
  }
  for (std::size_t row = first_panel * panel_rows_; row < last_panel * panel_rows_; ++row) {
    // Rows that fill up the last panel can have no survivors.
    const bool exists = row < batch_.rows;
    bounds_[row] = exists ? bounds[row] : INFINITY;
    if (prototypes_.shadow == nullptr) continue;
    // What the bytes sort out would not pass the second look either: its slack is below the bound.
    const double reserve = exists ? slacks_[row] + residuals_[row] + kBoundRounding : 0;
    lowers_[row] = static_cast<float>((bounds_[row] - reserve) * scales_[row]);
  }
}

void PrototypeFilter::run(std::size_t begin, std::size_t end, std::size_t first_panel,
                          std::size_t last_panel, FilterRoom& room, PieceHits& found) const {
  found.ends.resize(last_panel - first_panel);
  if (prototypes_.shadow == nullptr) {
    run_single(begin, end, first_panel, last_panel, room, found);
  } else {
    run_bytes(begin, end, first_panel, last_panel, room, found);
  }
}

void PrototypeFilter::run_bytes(std::size_t begin, std::size_t end, std::size_t first_panel,
                                std::size_t last_panel, FilterRoom& room, PieceHits& found) const {
  const KernelSet& kernels = kernel_set();
  const std::size_t depth = rounded_up(prototypes_.dim, kChunk);
  FilterBlock block{};
  block.chunks = depth / kChunk;
  block.groups = prototypes_.shadow + begin * depth;
  block.scales = prototypes_.shadow_scales + begin * 2;
  block.group_count = rounded_up(end - begin, kIdentitiesPerStep) / kGroup;
  const std::size_t most_places = kFilterRows * kGroup * block.group_count + kRoomForPlaces;
  room.masks.resize(kPanelsAtOnce * block.group_count);
  room.places.resize(most_places);
  RowsOfRun rows;
  // Some panels first, then all that they leave: what is looked at again comes from memory while
  // the next panels are filtered.
  for (std::size_t start = first_panel; start < last_panel; start += kPanelsAtOnce) {
    const std::size_t stop = std::min(last_panel, start + kPanelsAtOnce);
    if (takes_many_) {
      filter_together(begin, start, stop, block, room, rows);
    } else {
      filter_each(begin, start, stop, block, room, rows);
    }
    for (std::size_t panel = start; panel < stop; ++panel) {
      if (is_active_[panel] != 0) {
        const GroupMask* const masks = room.masks.data() + (panel - start) * block.group_count;
        const std::size_t count = kernels.places(masks, block.group_count, room.places.data());
        look_again(begin, panel * panel_rows_, room.places.data(), count, rows, found);
        found.pairs += count;
      }
      found.ends[panel - first_panel] = static_cast<std::uint32_t>(found.hits.size());
    }
  }
  found.prototypes += rows.count();
}

// The masks of all panels, one after another; meanwhile rows that they leave are asked for.
void PrototypeFilter::filter_each(std::size_t begin, std::size_t start, std::size_t stop,
                                  FilterBlock& block, FilterRoom& room, RowsOfRun& rows) const {
  constexpr std::size_t kMostAhead = kPieceIdentities / kIdentitiesPerStep * kRowsPerStep;
  const std::size_t depth = block.chunks * kChunk;
  std::array<const float*, kMostAhead> ahead;
  block.ahead = ahead.data();
  const std::size_t rows_ahead = block.group_count / kGroupsPerStep * kRowsPerStep;
  for (std::size_t panel = start; panel < stop; ++panel) {
    if (is_active_[panel] == 0) continue;
    const std::size_t first = panel * panel_rows_;
    block.rows = batch_.rows - first > kFilterRowsShort ? kFilterRows : kFilterRowsShort;
    block.panel = byte_panels_.data() + first * depth;
    block.offsets = offsets_.data() + first;
    block.lowers = lowers_.data() + first;
    block.spreads = spreads_.data() + first;
    for (std::size_t i = 0; i < rows_ahead; ++i) {
      // Without one, something that is in cache.
      const std::size_t next = rows.next();
      ahead[i] = next < kPieceIdentities ? prototypes_.row(begin + next) : batch_.unit_row(first);
    }
    GroupMask* const masks = room.masks.data() + (panel - start) * block.group_count;
    kernel_set().filter(block, masks);
    rows.need(masks, block.group_count, 0);
  }
}

// The same for all panels together, some groups at a time.
void PrototypeFilter::filter_together(std::size_t begin, std::size_t start, std::size_t stop,
                                      const FilterBlock& block, FilterRoom& room,
                                      RowsOfRun& rows) const {
  static_assert(kGroupsTogether % RowsOfRun::kGroupsPerWord == 0);
  std::array<const float*, kPieceIdentities> ahead;
  const std::size_t first = start * panel_rows_;
  FilterBlock part = block;
  room.packed_bytes.resize(packed_bytes(block.chunks));
  part.packed = room.packed_bytes.data();
  part.rows = (stop - start) * panel_rows_;
  part.panel = byte_panels_.data() + first * block.chunks * kChunk;
  part.offsets = offsets_.data() + first;
  part.lowers = lowers_.data() + first;
  part.spreads = spreads_.data() + first;
  part.mask_stride = block.group_count;
  part.ahead = ahead.data();
  for (std::size_t group = 0; group < block.group_count; group += kGroupsTogether) {
    part.groups = block.groups + group * kGroup * block.chunks * kChunk;
    part.scales = block.scales + group * 2 * kGroup;
    part.group_count = std::min(kGroupsTogether, block.group_count - group);
    part.rows_ahead = 0;
    for (std::size_t next = rows.next(); next < kPieceIdentities; next = rows.next()) {
      ahead[part.rows_ahead++] = prototypes_.row(begin + next);
    }
    GroupMask* const masks = room.masks.data() + group;
    kernel_set().filter_many(part, masks);
    std::array<GroupMask, kGroupsTogether> any{};
    for (std::size_t panel = start; panel < stop; ++panel) {
      if (is_active_[panel] == 0) continue;
      const GroupMask* const own = masks + (panel - start) * block.group_count;
      for (std::size_t i = 0; i < part.group_count; ++i) any[i] |= own[i];
    }
    rows.need(any.data(), part.group_count, group);
  }
}

void PrototypeFilter::RowsOfRun::need(const GroupMask* masks, std::size_t groups,
                                      std::size_t first_group) {
  for (std::size_t word = 0; word * kGroupsPerWord < groups; ++word) {
    const GroupMask* const first = masks + word * kGroupsPerWord;
    const std::size_t count = std::min(kGroupsPerWord, groups - word * kGroupsPerWord);
    std::uint64_t classes = 0;
    for (std::size_t i = 0; i < count; ++i) {
      // Whether any row of a class is set, in the lowest bit of its four; then the four together.
      std::uint32_t any = first[i] | first[i] >> 16;
      any |= any >> 2;
      any |= any >> 1;
      const std::uint32_t four = (any & 1) | (any >> 3 & 2) | (any >> 6 & 4) | (any >> 9 & 8);
      classes |= static_cast<std::uint64_t>(four) << (kGroup * i);
    }
    needed[first_group / kGroupsPerWord + word] |= classes;
  }
}

std::size_t PrototypeFilter::RowsOfRun::next() {
  for (std::size_t word = 0; word < kWords; ++word) {
    const std::uint64_t left = needed[word] & ~asked[word];
    if (left == 0) continue;
    asked[word] |= left & -left;
    return 64 * word + static_cast<std::size_t>(__builtin_ctzll(left));
  }
  return kPieceIdentities;
}

bool PrototypeFilter::RowsOfRun::is_first(std::size_t place) {
  const std::uint64_t bit = std::uint64_t{1} << place % 64;
  const bool was_asked = (asked[place / 64] & bit) != 0;
  asked[place / 64] |= bit;
  return !was_asked;
}

std::size_t PrototypeFilter::RowsOfRun::count() const {
  std::size_t total = 0;
  for (const std::uint64_t word : needed) {
    total += static_cast<std::size_t>(__builtin_popcountll(word));
  }
  return total;
}

void PrototypeFilter::look_again(std::size_t begin, std::size_t first_row,
                                 const std::uint32_t* places, std::size_t count, RowsOfRun& rows,
                                 PieceHits& found) const {
  constexpr std::size_t kAhead = 8;
  const KernelSet& kernels = kernel_set();
  const std::size_t dim = prototypes_.dim;
  const auto ask_for = [&](std::size_t i) {
    const std::size_t place = places[i] / kRowsPerPlace;
    if (rows.is_first(place)) prefetch_row(prototypes_.row(begin + place), dim);
  };
  for (std::size_t i = 0; i < std::min(count, kAhead); ++i) ask_for(i);
  const std::size_t before = found.hits.size();
  found.hits.resize(before + count);
  FilterHit* next = found.hits.data() + before;
  for (std::size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) ask_for(i + kAhead);
    const std::size_t row = first_row + places[i] % kRowsPerPlace;
    const std::size_t identity = begin + places[i] / kRowsPerPlace;
    const float product = kernels.dot_single(batch_.unit_row(row), prototypes_.row(identity), dim);
    // One that does not pass is overwritten by the next: no branch to mispredict.
    *next = {places[i], product / static_cast<float>(prototypes_.norms[identity])};
    next += next->cosine > bounds_[row] ? 1 : 0;
  }
  found.hits.resize(static_cast<std::size_t>(next - found.hits.data()));
}

void PrototypeFilter::run_single(std::size_t begin, std::size_t end, std::size_t first_panel,
                                 std::size_t last_panel, FilterRoom& room, PieceHits& found) const {
  const KernelSet& kernels = kernel_set();
  const std::size_t dim = prototypes_.dim;
  const std::size_t width = kernels.tile_columns;
  const std::size_t columns = (end - begin + width - 1) / width;
  room.packed.resize(columns * width * dim);
  float* const packed = room.packed.data();
  for (std::size_t column = 0; column < columns; ++column) {
    const std::size_t first = begin + column * width;
    const std::size_t count = std::min(width, end - first);
    float factors[kLargestTileColumns];
    for (std::size_t j = 0; j < count; ++j) {
      factors[j] = static_cast<float>(1 / prototypes_.norms[first + j]);
    }
    kernels.interleave(prototypes_.row(first), dim, factors, count, width, dim,
                       packed + column * width * dim);
  }
  float tile[kLargestTileRows * kLargestTileColumns];
  std::uint32_t masks[kLargestTileRows];
  for (std::size_t panel = first_panel; panel < last_panel; ++panel) {
    found.ends[panel - first_panel] = static_cast<std::uint32_t>(found.hits.size());
    if (is_active_[panel] == 0) continue;
    const std::size_t row = panel * panel_rows_;
    for (std::size_t column = 0; column < columns; ++column) {
      kernels.multiply(dim, panels_.data() + row * dim, packed + column * width * dim, tile);
      if (!kernels.select(tile, bounds_.data() + row, masks)) continue;
      const std::size_t count = std::min(width, end - begin - column * width);
      const std::uint32_t present = count == 32 ? ~0u : (1u << count) - 1;
      for (std::size_t i = 0; i < panel_rows_; ++i) {
        for (std::uint32_t mask = masks[i] & present; mask != 0; mask &= mask - 1) {
          const auto j = static_cast<std::size_t>(__builtin_ctz(mask));
          const std::size_t place = (column * width + j) * kRowsPerPlace + i;
          found.hits.push_back({static_cast<std::uint32_t>(place), tile[i * width + j]});
        }
      }
    }
    found.ends[panel - first_panel] = static_cast<std::uint32_t>(found.hits.size());
  }
}

double exact_cosine(const PrototypeView& prototypes, const Embeddings& batch, std::size_t row,
                    std::size_t identity) {
  const double product = kernel_set().dot(batch.row(row), prototypes.row(identity), prototypes.dim);
  return exact_cosine(prototypes, batch, row, identity, product);
}

double exact_cosine(const PrototypeView& prototypes, const Embeddings& batch, std::size_t row,
                    std::size_t identity, double product) {
  const double cosine = product / (batch.norms[row] * prototypes.norms[identity]);
  return std::clamp(cosine, -1.0, 1.0);
}

}  // namespace alphamargin
