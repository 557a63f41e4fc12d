#include "head/dense_rows.h"

#include <algorithm>
#include <cmath>

#include "cpu/kernel_set.h"
#include "head/nearest.h"
#include "head/sub_centres.h"
#include "math/label_smoothing.h"

namespace alphamargin {
namespace {

// Softmax of one row over chunks: running maximum and sum of the classes other than the target.
struct SoftmaxState {
  double largest = -INFINITY;
  double total = 0;
  double logits = 0;  // Σ of s·c + log q, for label smoothing

  // `cosines` [count] is the row's part of the chunk; the target's is struck out.
  void add(const HeadInputs& inputs, const SolvedRow& row, float* cosines, std::size_t begin,
           std::size_t count) {
    const KernelSet& kernels = kernel_set();
    strike_target(row, cosines, begin, count);
    const double scale = inputs.loss.scale;
    for (std::size_t j = 0; inputs.loss.smoothing > 0 && j < count; ++j) {
      if (cosines[j] > -INFINITY) logits += logit(inputs, scale, cosines[j], begin + j);
    }
    double chunk_largest = largest;
    double sum = 0;
    if (inputs.reference == nullptr) {
      chunk_largest = std::max<double>(largest, scale * kernels.largest(cosines, count));
      if (chunk_largest == -INFINITY) return;
      sum = kernels.exp_sum({scale, 0, chunk_largest}, cosines, count);
    } else {
      for (std::size_t j = 0; j < count; ++j) {
        chunk_largest = std::max(chunk_largest, logit(inputs, scale, cosines[j], begin + j));
      }
      if (chunk_largest == -INFINITY) return;
      for (std::size_t j = 0; j < count; ++j) {
        sum += std::exp(logit(inputs, scale, cosines[j], begin + j) - chunk_largest);
      }
    }
    total = total * std::exp(largest - chunk_largest) + sum;
    largest = chunk_largest;
  }

  // Of the classes seen so far and the target: from which cosine on posteriors are large.
  double exact_from(const HeadInputs& inputs, const SolvedRow& row) const {
    const double own = row.target.present ? target_logit(inputs.loss, row.target) : -INFINITY;
    const double most = std::max(largest, own);
    const double all = total * std::exp(largest - most) + std::exp(own - most);
    return exact_classes(inputs.loss).from({most / inputs.loss.scale, std::log(all), 0, 0});
  }

 private:
  static double logit(const HeadInputs& inputs, double scale, float cosine, std::size_t identity) {
    return scale * cosine + std::log(inputs.measure(identity));
  }
};

void solve_softmax_rows(const HeadInputs& inputs, const DenseRows& rows, SolvedBatch& solved) {
  std::vector<SoftmaxState> states(rows.size());
  const auto add = [&](std::size_t i, float* cosines, std::size_t begin, std::size_t count) {
    states[i].add(inputs, solved.rows[rows.index(i)], cosines, begin, count);
    return states[i].exact_from(inputs, solved.rows[rows.index(i)]);
  };
  const std::size_t chunk_rows = chunk_size(inputs.prototypes);
  rows.for_chunks(
      inputs,
      // Which posteriors are large the first chunk must say itself.
      [&](std::size_t i, float* cosines, std::size_t begin, std::size_t count) {
        rows.set_exact_from(i, 0, add(i, cosines, begin, count));
        states[i] = {};
      },
      [&](std::size_t i, float* cosines, std::size_t begin, std::size_t count) {
        rows.set_exact_from(i, begin + chunk_rows, add(i, cosines, begin, count));
      });
  for (std::size_t i = 0; i < rows.size(); ++i) {
    SolvedRow& row = solved.rows[rows.index(i)];
    const SoftmaxState& state = states[i];
    double largest = state.largest;
    double own = 0;
    if (row.target.present) {
      const double logit = target_logit(inputs.loss, row.target);
      largest = std::max(largest, logit);
      own = std::exp(logit - largest);
      row.smoothing =
          smoothing_loss(inputs.loss.smoothing, static_cast<double>(inputs.prototypes.classes()),
                         logit, state.logits);
    }
    const double others = state.total > 0 ? state.total * std::exp(state.largest - largest) : 0.0;
    const double total = others + own;
    row.solution = {largest / inputs.loss.scale, std::log(total), 0, 0};
    row.others = others / total;
    row.own = own / total;
    row.support = static_cast<std::int64_t>(inputs.prototypes.classes());
  }
}

// Room for the cosines of as many chunks as fit the share of these rows in the budget, which they
// do not need for candidates.
void keep_cosines(const HeadInputs& inputs, SolvedBatch& solved) {
  const auto rows = static_cast<std::size_t>(std::count_if(
      solved.rows.begin(), solved.rows.end(), [](const SolvedRow& row) { return row.dense; }));
  const std::size_t chunk_rows = chunk_size(inputs.prototypes);
  const std::size_t all = (inputs.prototypes.identities + chunk_rows - 1) / chunk_rows;
  const std::size_t chunk = rows * std::min(chunk_rows, inputs.prototypes.identities);
  const std::size_t share = inputs.scratch_budget / inputs.batch.rows * rows;
  const std::size_t chunks = std::min(all, share / sizeof(float) / chunk);
  solved.kept = std::make_shared<KeptCosines>(
      KeptCosines{make_buffer<float>(inputs.scratch, chunks * chunk), chunks, 0,
                  make_buffer<double>(inputs.scratch, all * rows)});
  std::fill(solved.kept->exact_from.begin(), solved.kept->exact_from.end(), INFINITY);
}

}  // namespace

DenseRows::DenseRows(const HeadInputs& inputs, const SolvedBatch& solved)
    : solved_(solved),
      sub_centres_(inputs.prototypes.sub_centres),
      chunk_rows_(chunk_size(inputs.prototypes)),
      unit_(make_buffer<float>(inputs.scratch)),
      packed_unit_(make_buffer<float>(inputs.scratch)),
      offsets_(make_buffer<double>(inputs.scratch)) {
  for (std::size_t row = 0; row < solved.rows.size(); ++row) {
    if (solved.rows[row].dense) indices_.push_back(row);
  }
  const std::size_t dim = inputs.batch.dim;
  unit_.resize(indices_.size() * dim);
  for (std::size_t i = 0; i < indices_.size(); ++i) {
    const float* source = inputs.batch.unit_row(indices_[i]);
    std::copy(source, source + dim, unit_.data() + i * dim);
  }
  pack_left(inputs.runtime, {unit_.data(), dim}, size(), dim, packed_unit_);
  if (solved.top.empty()) return;
  for (const std::size_t row : indices_) {
    penalties_.push_back(inputs.penalty(solved.rows[row]));
    top_.push_back(&solved.top[row]);
  }
}

void DenseRows::find_factors(const HeadInputs& inputs, std::size_t begin, std::size_t count,
                             ChunkScratch& chunk) {
  chunk.factors.resize(count);
  for (std::size_t j = 0; j < count; ++j) {
    chunk.factors[j] = static_cast<float>(1 / inputs.prototypes.norms[begin + j]);
  }
}

float* DenseRows::cosines(const HeadInputs& inputs, std::size_t begin, std::size_t count,
                          ChunkScratch& chunk) const {
  KeptCosines& kept = *solved_.kept;
  const std::size_t chunk_rows = chunk_size(inputs.prototypes);
  const std::size_t place = begin / chunk_rows;
  float* values = nullptr;
  if (place < kept.chunks) {
    values = kept.values.data() + place * size() * chunk_rows;
    if (place < kept.filled) return values;
  } else {
    chunk.unkept.resize(size() * count);
    values = chunk.unkept.data();
  }
  make_cosines(inputs, begin, count, chunk, values);
  // Every pass is complete: chunks are filled in order.
  if (place < kept.chunks) kept.filled = place + 1;
  return values;
}

void DenseRows::make_cosines(const HeadInputs& inputs, std::size_t begin, std::size_t count,
                             ChunkScratch& chunk, float* values) const {
  const std::size_t dim = inputs.batch.dim;
  find_factors(inputs, begin, count, chunk);
  packed_product(inputs.runtime, packed_unit_, chunk.panels,
                 {inputs.prototypes.row(begin), dim, true, chunk.factors.data()}, size(), dim,
                 count, values);
  bytes_read_ += count * dim * sizeof(float);
  find_offsets(inputs, begin, count);
  inputs.runtime.pool.run(size(), [&](std::size_t i) {
    float* const own = values + i * count;
    sharpen(inputs, i, begin, count, own);
    if (sub_centres_ > 1) keep_best_sub_centres(solved_.rows[indices_[i]], begin, count, own);
    // Exact all of them: rounded twice, large ones would be off by more than the contract has.
    for_top(i, begin, count, [&](std::size_t j) {
      if (own[j] == -INFINITY) return;
      const double cosine = exact_cosine(inputs.prototypes, inputs.batch, indices_[i], begin + j);
      own[j] = static_cast<float>(cosine + penalties_[i]);
    });
  });
}

// The first chunk, once it is known from where on. Which sub-centre is the best is seen among exact
// cosines, and a penalty is added to them.
void DenseRows::sharpen_again(const HeadInputs& inputs, std::size_t count, ChunkScratch& chunk,
                              float* values) const {
  if (sub_centres_ > 1 || !penalties_.empty()) {
    make_cosines(inputs, 0, count, chunk, values);
    return;
  }
  inputs.runtime.pool.run(size(),
                          [&](std::size_t i) { sharpen(inputs, i, 0, count, values + i * count); });
}

bool DenseRows::kept_all() const {
  const KeptCosines& kept = *solved_.kept;
  return kept.chunks * size() == kept.exact_from.size();
}

void DenseRows::reserve(const HeadInputs& inputs, ChunkScratch& chunk) const {
  const std::size_t count = std::min(chunk_rows_, inputs.prototypes.identities);
  chunk.factors.reserve(count);
  if (kept_all()) return;
  chunk.unkept.reserve(size() * count);
  chunk.panels.reserve(size(), inputs.batch.dim, count);
  offsets_.reserve(count);
}

void DenseRows::set_exact_from(std::size_t i, std::size_t begin, double cosine) const {
  const std::size_t place = begin / chunk_rows_ * size() + i;
  if (place < solved_.kept->exact_from.size()) solved_.kept->exact_from[place] = cosine;
}

void DenseRows::set_exact_from(std::size_t i, double cosine) const {
  KeptCosines& kept = *solved_.kept;
  for (std::size_t place = i; place < kept.exact_from.size(); place += size()) {
    kept.exact_from[place] = cosine;
  }
  kept.filled = 0;
}

void DenseRows::find_offsets(const HeadInputs& inputs, std::size_t begin, std::size_t count) const {
  const ExactClasses exact = exact_classes(inputs.loss);
  offsets_.resize(inputs.reference == nullptr ? 1 : count);
  for (std::size_t j = 0; j < offsets_.size(); ++j) {
    offsets_[j] = exact.offset(inputs.measure(begin + j));
  }
}

void DenseRows::sharpen(const HeadInputs& inputs, std::size_t i, std::size_t begin,
                        std::size_t count, float* cosines) const {
  // Some may have the penalty to come.
  const double from = solved_.kept->exact_from[begin / chunk_rows_ * size() + i] - penalty(i);
  if (from == INFINITY) return;
  const KernelSet& kernels = kernel_set();
  const bool same_offset = offsets_.size() == 1;
  const double smallest = *std::min_element(offsets_.begin(), offsets_.end());
  constexpr std::size_t kBlock = 64;
  for (std::size_t first = 0; first < count; first += kBlock) {
    const std::size_t last = std::min(count, first + kBlock);
    // Most blocks have none.
    if (!(kernels.largest(cosines + first, last - first) >= from + smallest)) continue;
    for (std::size_t j = first; j < last; ++j) {
      if (!(cosines[j] >= from + (same_offset ? smallest : offsets_[j]))) continue;
      cosines[j] =
          static_cast<float>(exact_cosine(inputs.prototypes, inputs.batch, indices_[i], begin + j));
    }
  }
}

void DenseRows::keep_best_sub_centres(const SolvedRow& row, std::size_t begin, std::size_t count,
                                      float* cosines) const {
  for_identities(
      count, sub_centres_, [](std::size_t place) { return place; },
      [&](std::size_t place) { return cosines[place]; },
      [&](std::size_t best, std::size_t first, std::size_t last) {
        const bool is_target = row.target.present && (begin + first) / sub_centres_ ==
                                                         static_cast<std::size_t>(row.label);
        for (std::size_t place = first; place < last; ++place) {
          if (is_target || place != best) cosines[place] = -INFINITY;
        }
      });
}

// The top classes of rows that are solved densely, by exact cosines: one more pass of the filter.
void find_top_classes(const HeadInputs& inputs, SolvedBatch& solved) {
  if (inputs.loss.top_penalty == 0 || inputs.labels == nullptr || !solved.has_dense_rows()) return;
  const std::size_t rows = solved.rows.size();
  const std::size_t k = std::min(inputs.loss.top_count + 1, inputs.prototypes.classes());
  std::vector<std::int32_t> identities(rows * k);
  std::vector<float> cosines(rows * k);
  solved.bytes_read += nearest(inputs.runtime, inputs.scratch, inputs.prototypes, inputs.batch, k,
                               identities.data(), cosines.data(), inputs.cancellation);
  solved.top.resize(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t rank = 0; rank < k; ++rank) {
      const std::int32_t identity = identities[row * k + rank];
      if (identity == solved.rows[row].label) continue;
      if (solved.top[row].size() < inputs.loss.top_count) solved.top[row].push_back(identity);
    }
  }
}

void solve_dense_rows(const HeadInputs& inputs, SolvedBatch& solved) {
  if (!solved.has_dense_rows()) return;
  find_top_classes(inputs, solved);
  keep_cosines(inputs, solved);
  const DenseRows rows(inputs, solved);
  if (inputs.loss.order.is_softmax()) {
    solve_softmax_rows(inputs, rows, solved);
  } else {
    solve_by_passes(inputs, rows, solved);
  }
  solved.bytes_read += rows.bytes_read();
}

}  // namespace alphamargin
