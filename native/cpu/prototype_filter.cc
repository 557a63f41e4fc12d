#include "cpu/prototype_filter.h"

#include <algorithm>
#include <cmath>

#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

// Rounding of x̂ and ŵ (2·2^-24 each) and of a D-term float32 sum (D·2^-24), with room to spare.
double single_slack(std::size_t dim) { return (static_cast<double>(dim) + 8) * 0x1p-24; }

// c − c̃ = x̂·(ŵ − w̃) + (x̂ − x̃)·w̃. No element of ŵ − w̃ exceeds kFixedRounding/S, so the first
// term is at most that times Σ|x̂_k|; the second is at most ‖x̂ − x̃‖‖w̃‖.
double fixed_slack(const float* unit, const std::int16_t* quantized, std::size_t stride,
                   std::size_t dim) {
  // A sum for each place in a chunk: they do not wait for each other.
  double absolutes[kChunk] = {};
  double squares[kChunk] = {};
  for (std::size_t begin = 0; begin < dim; begin += kChunk) {
    const std::int16_t* const chunk = quantized + begin / kChunk * stride;
    const auto add = [&](std::size_t k) __attribute__((always_inline)) {
      const double difference = unit[begin + k] - chunk[k] * (1 / kFixedScale);
      absolutes[k] += std::fabs(unit[begin + k]);
      squares[k] += difference * difference;
    };
    if (begin + kChunk <= dim) {
      for (std::size_t k = 0; k < kChunk; ++k) add(k);
    } else {
      for (std::size_t k = 0; begin + k < dim; ++k) add(k);
    }
  }
  double absolute = 0;
  double residual = 0;
  for (std::size_t k = 0; k < kChunk; ++k) {
    absolute += absolutes[k];
    residual += squares[k];
  }
  const double rounding = kFixedRounding / kFixedScale;
  const double longest = 1 + rounding * std::sqrt(static_cast<double>(dim));
  // And float32 rounding: of x̂, and of c̃ when it is handed on.
  return rounding * absolute + std::sqrt(residual) * longest + 4 * 0x1p-24;
}

}  // namespace

PrototypeFilter::PrototypeFilter(Runtime& runtime, MemoryAccount& scratch,
                                 const PrototypeView& prototypes, const Embeddings& batch)
    : prototypes_(prototypes),
      batch_(batch),
      panel_rows_(prototypes.shadow == nullptr ? kernel_set().tile_rows : kFilterRows),
      panel_count_((batch.rows + panel_rows_ - 1) / panel_rows_),
      is_active_(panel_count_, 0),
      slacks_(make_buffer<double>(scratch, batch.rows)),
      fixed_panels_(make_buffer<std::int16_t>(scratch)),
      fixed_bounds_(make_buffer<std::int32_t>(scratch)),
      panels_(make_buffer<float>(scratch)),
      bounds_(make_buffer<float>(scratch)) {
  if (prototypes.shadow == nullptr) {
    prepare_single(runtime, scratch);
  } else {
    prepare_fixed(runtime);
  }
}

std::size_t PrototypeFilter::bytes_per_identity() const {
  return prototypes_.shadow == nullptr ? prototypes_.dim * sizeof(float)
                                       : rounded_up(prototypes_.dim, kChunk) * sizeof(std::int16_t);
}

void PrototypeFilter::prepare_fixed(Runtime& runtime) {
  const std::size_t dim = batch_.dim;
  const std::size_t depth = rounded_up(dim, kChunk);
  fixed_panels_.resize(panel_count_ * panel_rows_ * depth);
  fixed_bounds_.resize(panel_count_ * panel_rows_);
  runtime.pool.run(panel_count_, [&](std::size_t panel) {
    const std::size_t first = panel * panel_rows_;
    const std::size_t count = std::min(panel_rows_, batch_.rows - first);
    const std::size_t stride = (count > kFilterRowsShort ? kFilterRows : kFilterRowsShort) * kChunk;
    std::int16_t* target = fixed_panels_.data() + first * depth;
    if (count < panel_rows_) std::fill_n(target, panel_rows_ * depth, std::int16_t{0});
    for (std::size_t i = 0; i < count; ++i) {
      const float* unit = batch_.unit_row(first + i);
      kernel_set().quantize(unit, static_cast<float>(kFixedScale), dim, stride,
                            target + i * kChunk);
      slacks_[first + i] = fixed_slack(unit, target + i * kChunk, stride, dim);
    }
  });
}

void PrototypeFilter::prepare_single(Runtime& runtime, MemoryAccount& scratch) {
  std::fill(slacks_.begin(), slacks_.end(), single_slack(batch_.dim));
  panels_ = float_panels(runtime, scratch, batch_);
  bounds_.resize(panel_count_ * panel_rows_);
}

void PrototypeFilter::set_bounds(const float* bounds, std::size_t first_panel,
                                 std::size_t last_panel) {
  constexpr double kLargest = 0x7fffffff;
  for (std::size_t panel = first_panel; panel < last_panel; ++panel) {
    const float* const end = bounds + std::min(batch_.rows, (panel + 1) * panel_rows_);
    is_active_[panel] = std::any_of(bounds + panel * panel_rows_, end,
                                    [](float bound) { return bound < INFINITY; });
  }
  for (std::size_t row = first_panel * panel_rows_; row < last_panel * panel_rows_; ++row) {
    // Rows that fill up the last panel can have no survivors.
    const bool exists = row < batch_.rows;
    if (prototypes_.shadow == nullptr) {
      bounds_[row] = exists ? bounds[row] : INFINITY;
      continue;
    }
    // Integer n: n > b ⇔ n > ⌊b⌋.
    const double bound = exists ? bounds[row] * (kFixedScale * kFixedScale) : kLargest;
    fixed_bounds_[row] =
        static_cast<std::int32_t>(std::floor(std::clamp(bound, -kLargest, kLargest)));
  }
}

void PrototypeFilter::run(std::size_t begin, std::size_t end, std::size_t first_panel,
                          std::size_t last_panel, FilterRoom& room, PieceHits& found) const {
  found.ends.resize(last_panel - first_panel);
  if (prototypes_.shadow == nullptr) {
    run_single(begin, end, first_panel, last_panel, room, found);
  } else {
    run_fixed(begin, end, first_panel, last_panel, room, found);
  }
}

void PrototypeFilter::run_fixed(std::size_t begin, std::size_t end, std::size_t first_panel,
                                std::size_t last_panel, FilterRoom& room, PieceHits& found) const {
  const std::size_t depth = rounded_up(prototypes_.dim, kChunk);
  FilterBlock block{};
  block.chunks = depth / kChunk;
  block.groups = prototypes_.shadow + begin * depth;
  block.group_count = rounded_up(end - begin, kIdentitiesPerStep) / kGroup;
  room.hits.resize(kFilterRows * kGroup * block.group_count);
  for (std::size_t panel = first_panel; panel < last_panel; ++panel) {
    found.ends[panel - first_panel] = static_cast<std::uint32_t>(found.hits.size());
    if (is_active_[panel] == 0) continue;
    const std::size_t first = panel * panel_rows_;
    block.rows = batch_.rows - first > kFilterRowsShort ? kFilterRows : kFilterRowsShort;
    block.panel = fixed_panels_.data() + first * depth;
    block.bounds = fixed_bounds_.data() + first;
    const std::size_t count = kernel_set().filter(block, room.hits.data());
    found.hits.insert(found.hits.end(), room.hits.data(), room.hits.data() + count);
    found.ends[panel - first_panel] = static_cast<std::uint32_t>(found.hits.size());
  }
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
