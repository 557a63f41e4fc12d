#include "head/prototype_state.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/kernel_set.h"
#include "head/class_segments.h"
#include "head/state_checks.h"
#include "math/random_direction.h"

namespace alphamargin {
namespace {

std::size_t elements(std::size_t rows, std::size_t width) {
  if (width != 0 && rows > std::numeric_limits<std::size_t>::max() / width) throw std::bad_alloc();
  return rows * width;
}

NormRange range_of(const double* norms, std::size_t count) {
  // Several at a time, which do not wait for each other.
  constexpr std::size_t kLanes = 16;
  double smallest[kLanes];
  double largest[kLanes];
  std::fill_n(smallest, kLanes, INFINITY);
  std::fill_n(largest, kLanes, 0.0);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double norm = norms[i + lane];
      smallest[lane] = norm < smallest[lane] ? norm : smallest[lane];
      largest[lane] = norm > largest[lane] ? norm : largest[lane];
    }
  }
  NormRange range{*std::min_element(smallest, smallest + kLanes),
                  *std::max_element(largest, largest + kLanes)};
  for (; i < count; ++i) {
    range.smallest = std::min(range.smallest, norms[i]);
    range.largest = std::max(range.largest, norms[i]);
  }
  return range;
}

}  // namespace

PrototypeState::PrototypeState(MemoryAccount& account, std::size_t identities, std::size_t dim,
                               std::size_t sub_centres)
    : identities_(identities),
      dim_(dim),
      sub_centres_(sub_centres),
      prototypes_(make_buffer<float>(account, elements(identities, dim))),
      norms_(make_buffer<double>(account, identities)),
      shadow_(make_buffer<std::uint8_t>(account)),
      shadow_scales_(make_buffer<float>(account)),
      momentum_(make_buffer<float>(account)),
      accumulator_(make_buffer<float>(account)) {}

void PrototypeState::write_shadow(std::size_t identity) {
  const KernelSet& kernels = kernel_set();
  const float* const row = prototypes_.data() + identity * dim_;
  const std::size_t depth = rounded_up(dim_, kChunk);
  const std::size_t group = identity / kGroup;
  const std::size_t place = identity % kGroup;
  const float factor = kPrototypeLevels / kernels.largest_size(row, dim_);
  const Rounding rounding =
      kernels.quantize(row, factor, dim_, kGroup * kChunk, kStoredZero,
                       shadow_.data() + group * kGroup * depth + place * kChunk);
  float* const scales = shadow_scales_.data() + group * 2 * kGroup + place;
  scales[0] = static_cast<float>(factor * norms_[identity]);
  scales[kGroup] = static_cast<float>(residual_of(rounding, dim_));
}

void PrototypeState::refresh_row(std::size_t identity) {
  const float* row = prototypes_.data() + identity * dim_;
  refresh_row(identity, kernel_set().dot(row, row, dim_));
}

void PrototypeState::refresh_row(std::size_t identity, double square) {
  norms_[identity] = std::sqrt(square);
  if (!shadow_.empty()) write_shadow(identity);
}

void PrototypeState::build_shadow(Runtime& runtime) {
  if (!shadow_.empty()) return;
  const std::size_t depth = rounded_up(dim_, kChunk);
  const std::size_t padded = rounded_up(identities_, kIdentitiesPerStep);
  auto scales = make_buffer<float>(*shadow_.get_allocator().account(), 2 * padded);
  shadow_.resize(elements(padded, depth));
  shadow_scales_.swap(scales);
  // What fills up the last step never passes: zeros from the last group on, before its rows.
  const std::size_t whole = identities_ / kGroup * kGroup;
  std::fill_n(shadow_.data() + whole * depth, (padded - whole) * depth, kStoredZero);
  std::fill_n(shadow_scales_.data() + 2 * whole, 2 * (padded - whole), 0.0f);
  constexpr std::size_t kRowsPerPiece = 256;
  runtime.pool.run((identities_ + kRowsPerPiece - 1) / kRowsPerPiece, [&](std::size_t piece) {
    const std::size_t last = std::min(identities_, (piece + 1) * kRowsPerPiece);
    for (std::size_t row = piece * kRowsPerPiece; row < last; ++row) write_shadow(row);
  });
}

void PrototypeState::fill_random(Runtime& runtime, std::uint64_t seed) {
  constexpr std::size_t kRowsPerPiece = 256;
  const std::uint64_t key = scrambled(seed);
  const std::size_t pieces = (identities_ + kRowsPerPiece - 1) / kRowsPerPiece;
  runtime.pool.run(pieces, [&](std::size_t piece) {
    const std::size_t last = std::min(identities_, (piece + 1) * kRowsPerPiece);
    for (std::size_t row = piece * kRowsPerPiece; row < last; ++row) {
      float* values = prototypes_.data() + row * dim_;
      for (std::size_t k = 0; k < dim_; ++k) {
        values[k] = near_normal(scrambled(key ^ (row * dim_ + k)));
      }
      double norm = std::sqrt(kernel_set().dot(values, values, dim_));
      if (norm == 0) norm = values[0] = 1;
      for (std::size_t k = 0; k < dim_; ++k) values[k] = static_cast<float>(values[k] / norm);
      norms_[row] = std::sqrt(kernel_set().dot(values, values, dim_));
    }
  });
}

void PrototypeState::ensure_optimizer(const Optimizer& optimizer) {
  if (optimizer.keeps_momentum() && momentum_.empty()) {
    momentum_.assign(elements(identities_, dim_), 0.0f);
  }
  if (optimizer.keeps_accumulators() && accumulator_.empty()) {
    accumulator_.assign(identities_, 0.0f);
  }
}

void PrototypeState::end_update(const Optimizer& optimizer, double momentum_bound) {
  momentum_bound_ = optimizer.keeps_momentum() ? momentum_bound : 0;
  if (!optimizer.keeps_momentum()) Buffer<float>(momentum_.get_allocator()).swap(momentum_);
  if (!optimizer.keeps_accumulators()) {
    Buffer<float>(accumulator_.get_allocator()).swap(accumulator_);
  }
}

bool PrototypeState::has(StateArray array) const {
  switch (array) {
    case StateArray::kPrototypes:
      return true;
    case StateArray::kMomentum:
      return !momentum_.empty();
    case StateArray::kAccumulator:
      return !accumulator_.empty();
  }
  return false;
}

void PrototypeState::read(StateArray array, std::size_t first, std::size_t count,
                          float* out) const {
  const Buffer<float>& source = array == StateArray::kPrototypes ? prototypes_
                                : array == StateArray::kMomentum ? momentum_
                                                                 : accumulator_;
  const std::size_t row = width(array);
  std::copy_n(source.data() + first * row, count * row, out);
}

void PrototypeState::write(StateArray array, std::size_t first, std::size_t count,
                           const float* values) {
  if (array == StateArray::kPrototypes) {
    checked_prototypes(first, count, dim_, values);
    std::copy_n(values, count * dim_, prototypes_.data() + first * dim_);
    for (std::size_t i = 0; i < count; ++i) refresh_row(first + i);
    return;
  }
  const std::size_t row = width(array);
  check_optimizer_rows(array, first, count, row, values);
  Buffer<float>& target = array == StateArray::kMomentum ? momentum_ : accumulator_;
  if (target.empty()) target.assign(elements(identities_, row), 0.0f);
  std::copy_n(values, count * row, target.data() + first * row);
  if (array != StateArray::kMomentum) return;
  momentum_bound_ = std::max(momentum_bound_, largest_norm(count, dim_, values));
}

double PrototypeState::check_update(Runtime& runtime, const Optimizer& optimizer,
                                    double largest_coefficient) const {
  constexpr std::size_t kPerPiece = std::size_t{1} << 16;
  std::vector<NormRange> ranges((identities_ + kPerPiece - 1) / kPerPiece);
  runtime.pool.run(ranges.size(), [&](std::size_t piece) {
    const std::size_t first = piece * kPerPiece;
    ranges[piece] = range_of(norms_.data() + first, std::min(kPerPiece, identities_ - first));
  });
  NormRange norms{INFINITY, 0};
  for (const NormRange& range : ranges) {
    norms.smallest = std::min(norms.smallest, range.smallest);
    norms.largest = std::max(norms.largest, range.largest);
  }
  return alphamargin::check_update(optimizer, largest_coefficient, norms, dim_, momentum_bound_);
}

void PrototypeState::update_row(const Optimizer& optimizer, std::size_t identity,
                                ClassGradient& gradient, double* gradient_row,
                                const RowsAhead& ahead) {
  const KernelSet& kernels = kernel_set();
  float* row = prototypes_.data() + identity * dim_;
  const double decay = optimizer.weight_decay;
  gradient.inverse_norm = 1 / norms_[identity];
  if (optimizer.kind == OptimizerKind::kSgd) {
    float* velocity = optimizer.momentum > 0 ? momentum_.data() + identity * dim_ : nullptr;
    const DescentRule rule{static_cast<float>(optimizer.learning_rate),
                           static_cast<float>(optimizer.momentum), decay};
    refresh_row(identity, kernels.class_step(gradient, rule, dim_, row, velocity, ahead));
    return;
  }
  if (ahead.row != nullptr) prefetch_row(ahead.row, dim_);
  kernels.class_gradient(gradient, row, dim_, gradient_row);
  double squares = 0;
  for (std::size_t k = 0; k < dim_; ++k) {
    const double g = gradient_row[k] + decay * row[k];
    squares += g * g;
  }
  const double sum = accumulator_[identity] + squares / static_cast<double>(dim_);
  accumulator_[identity] = static_cast<float>(sum);
  const double root = std::sqrt(optimizer.initial_accumulator + sum);
  kernels.descend(optimizer.learning_rate / (root + optimizer.epsilon), decay, gradient_row, dim_,
                  row);
  refresh_row(identity);
}

std::size_t PrototypeState::update_bytes() const {
  const std::size_t shadow = shadow_.empty() ? 0 : shadow_bytes_per_identity(dim_);
  return 2 * sizeof(float) * dim_ * (momentum_.empty() ? 1 : 2) + shadow;
}

void PrototypeState::reset_rows(const std::int32_t* identities, std::size_t count,
                                const float* values) {
  check_replacements(identities, count, values, identities_, dim_);
  for (std::size_t i = 0; i < count; ++i) {
    reset_row(identities == nullptr ? i : static_cast<std::size_t>(identities[i]),
              values + i * dim_);
  }
}

void PrototypeState::reset_row(std::size_t identity, const float* values) {
  std::copy_n(values, dim_, prototypes_.data() + identity * dim_);
  refresh_row(identity);
  if (!momentum_.empty()) std::fill_n(momentum_.data() + identity * dim_, dim_, 0.0f);
  if (!accumulator_.empty()) accumulator_[identity] = 0;
}

std::size_t PrototypeState::prototype_bytes() const {
  return prototypes_.size() * sizeof(float) + norms_.size() * sizeof(double) + shadow_.size() +
         shadow_scales_.size() * sizeof(float);
}

std::size_t PrototypeState::optimizer_bytes() const {
  return (momentum_.size() + accumulator_.size()) * sizeof(float);
}

}  // namespace alphamargin
