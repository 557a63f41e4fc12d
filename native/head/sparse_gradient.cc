#include "head/sparse_gradient.h"

#include <algorithm>
#include <atomic>

#include "cpu/kernel_set.h"
#include "head/gradient_parts.h"

namespace alphamargin {

void PairGradients::collect(const HeadInputs& inputs, const SolvedBatch& solved,
                            const ClassRange& range, const ClassSegment& segment) {
  count_ = 0;
  for (std::uint32_t i = segment.begin; i < segment.end; ++i) {
    const ClassPair& pair = range.pairs[i];
    const SolvedRow& row = solved.rows[pair.row];
    double coefficient = 0;
    double cosine = 0;
    if (pair.slot == kTargetSlot) {
      coefficient = target_coefficient(inputs, row);
      cosine = row.label_cosine;
    } else {
      const SupportEntry& entry = solved.entries[pair.row][pair.slot];
      coefficient = class_factor(inputs) * entry.posterior;
      cosine = entry.cosine;
    }
    if (coefficient == 0) continue;
    rows_[count_] = pair.row;
    coefficients_[count_] = coefficient;
    projections_[count_] = coefficient * cosine;
    embeddings_[count_] = inputs.batch.unit_row(pair.row);
    ++count_;
  }
}

ClassGradient PairGradients::gradient() const {
  ClassGradient gradient;
  gradient.pairs = count_;
  gradient.coefficients = coefficients_.data();
  gradient.embeddings = embeddings_.data();
  for (std::size_t i = 0; i < count_; ++i) gradient.projection += projections_[i];
  return gradient;
}

namespace {

// Bytes of partial sums of ∂x at a time; a larger batch takes several passes over the classes.
constexpr std::size_t kPartialBytes = std::size_t{1} << 24;

// Parallel pieces of an update alone, so that no thread waits long for another.
constexpr std::size_t kUpdatePieces = 32;

class SparseBackward {
 public:
  SparseBackward(const HeadInputs& inputs, const SolvedBatch& solved, float* grad_embeddings,
                 PrototypeState* state, const Optimizer& optimizer)
      : inputs_(inputs),
        solved_(solved),
        grad_embeddings_(grad_embeddings),
        state_(state),
        optimizer_(optimizer),
        dim_(inputs.batch.dim),
        ranges_(solved.by_class.size()),
        sums_embeddings_(grad_embeddings != nullptr && !solved.has_embedding_gradients),
        slices_(sums_embeddings_ ? 1 : (kUpdatePieces + ranges_ - 1) / ranges_),
        rows_per_pass_(
            std::min(inputs.batch.rows,
                     std::max<std::size_t>(16, kPartialBytes / (sizeof(double) * dim_ * ranges_)))),
        partial_(make_buffer<double>(inputs.scratch)),
        projections_(make_buffer<double>(inputs.scratch)),
        gradient_rows_(make_buffer<double>(inputs.scratch, ranges_ * slices_ * dim_)),
        pairs_(ranges_ * slices_, PairGradients(inputs.scratch, inputs.batch.rows)) {}

  BackwardStats run() {
    const std::size_t rows = inputs_.batch.rows;
    if (sums_embeddings_) {
      partial_.resize(ranges_ * rows_per_pass_ * dim_);
      projections_.resize(ranges_ * rows_per_pass_);
      for (std::size_t first = 0; first < rows; first += rows_per_pass_) {
        const std::size_t last = std::min(rows, first + rows_per_pass_);
        pass(first, last, state_ != nullptr && last == rows);
        finish_embeddings(first, last);
      }
    } else if (state_ != nullptr) {
      pass(0, 0, true);
    }
    BackwardStats stats;
    stats.touched = touched_;
    stats.moved_bytes = read_ * dim_ * sizeof(float);
    // What was read to be updated is counted there.
    if (state_ != nullptr) {
      stats.moved_bytes += stats.touched * (state_->update_bytes() - dim_ * sizeof(float));
    }
    return stats;
  }

 private:
  // ∂x of the rows [first, last), range by range into partial sums; with `update` the classes too.
  // Allocates nothing: an update that has begun must not fail.
  void pass(std::size_t first, std::size_t last, bool update) {
    inputs_.runtime.pool.run(ranges_ * slices_, [&](std::size_t piece) {
      const std::size_t index = piece / slices_;
      const ClassRange& range = solved_.by_class[index];
      const std::size_t count = range.segments.size();
      const std::size_t begin = count * (piece % slices_) / slices_;
      const std::size_t end = count * (piece % slices_ + 1) / slices_;
      double* partial = nullptr;
      double* projections = nullptr;
      if (last > first) {
        partial = partial_.data() + index * rows_per_pass_ * dim_;
        projections = projections_.data() + index * rows_per_pass_;
        std::fill_n(partial, (last - first) * dim_, 0.0);
        std::fill_n(projections, last - first, 0.0);
      }
      PairGradients& pairs = pairs_[piece];
      std::size_t touched = 0;
      for (std::size_t i = begin; i < end; ++i) {
        RowsAhead ahead;
        if (i + kPrefetchAhead < count) {
          const ClassSegment* const soon = range.segments.data() + i + kPrefetchAhead;
          const auto next = static_cast<std::size_t>(soon->identity);
          if (update) {
            state_->ask_for(next, static_cast<std::size_t>((soon - 1)->identity), ahead);
          } else {
            prefetch_row(inputs_.prototypes.row(next), dim_);
          }
        }
        const auto identity = static_cast<std::size_t>(range.segments[i].identity);
        pairs.collect(inputs_, solved_, range, range.segments[i]);
        if (pairs.size() == 0) continue;
        if (last > first) add_to_embeddings(pairs, identity, first, last, partial, projections);
        if (!update) continue;
        ClassGradient gradient = pairs.gradient();
        state_->update_row(optimizer_, identity, gradient, gradient_rows_.data() + piece * dim_,
                           ahead);
        ++touched;
      }
      touched_ += touched;
      read_ += end - begin;
    });
  }

  void add_to_embeddings(const PairGradients& pairs, std::size_t identity, std::size_t first,
                         std::size_t last, double* partial, double* projections) {
    const double inverse = 1 / inputs_.prototypes.norms[identity];
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const std::size_t row = pairs.row(i);
      if (row < first || row >= last || solved_.rows[row].dense) continue;
      kernel_set().accumulate(pairs.coefficient(i) * inverse, inputs_.prototypes.row(identity),
                              dim_, partial + (row - first) * dim_);
      projections[row - first] += pairs.projection(i);
    }
  }

  void finish_embeddings(std::size_t first, std::size_t last) {
    inputs_.runtime.pool.run(last - first, [&](std::size_t i) {
      const SolvedRow& row = solved_.rows[first + i];
      if (row.dense) return;
      float* out = grad_embeddings_ + (first + i) * dim_;
      if (!(row.others > 0)) {
        std::fill_n(out, dim_, 0.0f);
        return;
      }
      double* sums = partial_.data() + i * dim_;
      double projection = projections_[i];
      for (std::size_t range = 1; range < ranges_; ++range) {
        const double* more = partial_.data() + (range * rows_per_pass_ + i) * dim_;
        for (std::size_t k = 0; k < dim_; ++k) sums[k] += more[k];
        projection += projections_[range * rows_per_pass_ + i];
      }
      write_embedding_gradient(inputs_, first + i, sums, projection, out);
    });
  }

  const HeadInputs& inputs_;
  const SolvedBatch& solved_;
  float* grad_embeddings_;
  PrototypeState* state_;
  const Optimizer& optimizer_;
  std::size_t dim_;
  std::size_t ranges_;
  bool sums_embeddings_;
  std::size_t slices_;  // of a range
  std::size_t rows_per_pass_;
  Buffer<double> partial_;        // Σ g ŵ [ranges, rows of a pass, D]
  Buffer<double> projections_;    // Σ g c [ranges, rows of a pass]
  Buffer<double> gradient_rows_;  // scratch of an update [pieces, D]
  std::vector<PairGradients> pairs_;
  std::atomic<std::size_t> touched_{0};
  std::atomic<std::size_t> read_{0};
};

}  // namespace

BackwardStats sparse_backward(const HeadInputs& inputs, const SolvedBatch& solved,
                              float* grad_embeddings, PrototypeState* state,
                              const Optimizer& optimizer) {
  return SparseBackward(inputs, solved, grad_embeddings, state, optimizer).run();
}

}  // namespace alphamargin
