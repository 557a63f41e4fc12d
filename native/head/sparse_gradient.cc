#include "head/sparse_gradient.h"

#include <algorithm>
#include <atomic>

#include "cpu/kernel_set.h"
#include "head/gradient_parts.h"

namespace alphamargin {

PairTerm term_of(const HeadInputs& inputs, const SolvedBatch& solved, const ClassPair& pair) {
  const SolvedRow& row = solved.rows[pair.row];
  if (pair.slot == kTargetSlot) return {target_coefficient(inputs, row), row.label_cosine};
  const SupportEntry& entry = solved.entries[pair.row][pair.slot];
  return {class_factor(inputs) * entry.posterior, entry.cosine};
}

void PairGradients::collect(const HeadInputs& inputs, const SolvedBatch& solved,
                            const ClassRange& range, const ClassSegment& segment) {
  count_ = 0;
  for (std::uint32_t i = segment.begin; i < segment.end; ++i) {
    const ClassPair& pair = range.pairs[i];
    const PairTerm term = term_of(inputs, solved, pair);
    if (term.coefficient == 0) continue;
    rows_[count_] = pair.row;
    coefficients_[count_] = term.coefficient;
    projections_[count_] = term.coefficient * term.cosine;
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

// Columns of a prototype that are worth a piece of their own: four cache lines.
constexpr std::size_t kFewestColumns = 64;

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
        parts_(class_part_count(inputs.prototypes.identities)),
        sums_embeddings_(grad_embeddings != nullptr && !solved.has_embedding_gradients),
        is_fused_(sums_embeddings_ && inputs.runtime.pool.size() <= parts_),
        slices_((kUpdatePieces + ranges_ - 1) / ranges_),
        rows_per_pass_(
            std::min(inputs.batch.rows,
                     std::max<std::size_t>(16, kPartialBytes / (sizeof(double) * dim_ * parts_)))),
        partial_(make_buffer<double>(inputs.scratch)),
        projections_(make_buffer<double>(inputs.scratch)),
        gradient_rows_(make_buffer<double>(inputs.scratch, pieces() * dim_)),
        pairs_(pieces(), PairGradients(inputs.scratch, inputs.batch.rows)) {}

  BackwardStats run() {
    const std::size_t rows = inputs_.batch.rows;
    if (sums_embeddings_) {
      partial_.resize(parts_ * rows_per_pass_ * dim_);
      projections_.resize(parts_ * rows_per_pass_);
      for (std::size_t first = 0; first < rows; first += rows_per_pass_) {
        const RowSpan span{first, std::min(rows, first + rows_per_pass_)};
        if (is_fused_) {
          sum_embeddings(span, state_ != nullptr && span.last == rows);
        } else {
          sum_columns(span);
        }
        finish_embeddings(span);
      }
    }
    if (!is_fused_ && state_ != nullptr) update();
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
  struct RowSpan {
    std::size_t first = 0;
    std::size_t last = 0;
  };
  // What the classes of a part add up to.
  struct PartSums {
    double* partial;      // Σ g ŵ [rows of a pass, D]
    double* projections;  // Σ g c [rows of a pass]
  };

  std::size_t pieces() const { return is_fused_ ? parts_ : ranges_ * slices_; }

  // ∂x of the rows into the sums of the parts; with `update` the classes too.
  void sum_embeddings(const RowSpan& rows, bool update) {
    inputs_.runtime.pool.run(parts_, [&](std::size_t part) {
      const PartSums sums = sums_of(part);
      std::fill_n(sums.partial, (rows.last - rows.first) * dim_, 0.0);
      std::fill_n(sums.projections, rows.last - rows.first, 0.0);
      for_ranges(part, [&](const ClassRange& range) {
        visit(range, 0, range.segments.size(), part, update,
              [&](const PairGradients& pairs, std::size_t identity) {
                add_to_embeddings(pairs, identity, rows, sums);
              });
        read_ += range.segments.size();
      });
    });
  }

  // The same sums, without the update, where there are more threads than parts: a piece is some
  // columns of a part. Classes are read once more for the update, but by all threads.
  void sum_columns(const RowSpan& rows) {
    const std::size_t wanted = (2 * inputs_.runtime.pool.size() + parts_ - 1) / parts_;
    const std::size_t width =
        rounded_up(std::max(kFewestColumns, (dim_ + wanted - 1) / wanted), kFewestColumns / 4);
    const std::size_t slices = (dim_ + width - 1) / width;
    inputs_.runtime.pool.run(parts_ * slices, [&](std::size_t piece) {
      const PartSums sums = sums_of(piece / slices);
      const std::size_t column = piece % slices * width;
      const std::size_t count = std::min(width, dim_ - column);
      for (std::size_t i = 0; i < rows.last - rows.first; ++i) {
        std::fill_n(sums.partial + i * dim_ + column, count, 0.0);
      }
      if (column == 0) std::fill_n(sums.projections, rows.last - rows.first, 0.0);
      for_ranges(piece / slices, [&](const ClassRange& range) {
        for (std::size_t i = 0; i < range.segments.size(); ++i) {
          if (i + kPrefetchAhead < range.segments.size()) {
            const auto soon = static_cast<std::size_t>(range.segments[i + kPrefetchAhead].identity);
            prefetch_row(inputs_.prototypes.row(soon) + column, count);
          }
          add_columns(range, range.segments[i], rows, sums, column, count);
        }
        // Each class once for every pass, the one with the update too: as where they are fused.
        const bool is_counted = state_ == nullptr || rows.last < inputs_.batch.rows;
        if (column == 0 && is_counted) read_ += range.segments.size();
      });
    });
  }

  void add_columns(const ClassRange& range, const ClassSegment& segment, const RowSpan& rows,
                   const PartSums& sums, std::size_t column, std::size_t count) {
    const auto identity = static_cast<std::size_t>(segment.identity);
    const double inverse = 1 / inputs_.prototypes.norms[identity];
    const float* const values = inputs_.prototypes.row(identity) + column;
    for (std::uint32_t i = segment.begin; i < segment.end; ++i) {
      const ClassPair& pair = range.pairs[i];
      if (!is_summed(pair.row, rows)) continue;
      const PairTerm term = term_of(inputs_, solved_, pair);
      if (term.coefficient == 0) continue;
      const std::size_t place = pair.row - rows.first;
      kernel_set().accumulate(term.coefficient * inverse, values, count,
                              sums.partial + place * dim_ + column);
      if (column == 0) sums.projections[place] += term.coefficient * term.cosine;
    }
  }

  void update() {
    inputs_.runtime.pool.run(ranges_ * slices_, [&](std::size_t piece) {
      const ClassRange& range = solved_.by_class[piece / slices_];
      const std::size_t count = range.segments.size();
      const std::size_t begin = count * (piece % slices_) / slices_;
      const std::size_t end = count * (piece % slices_ + 1) / slices_;
      visit(range, begin, end, piece, true, [](const PairGradients&, std::size_t) {});
      read_ += end - begin;
    });
  }

  // Calls add(pairs, identity) for the classes of the segments, then updates them if it is to.
  // Allocates nothing: an update that has begun must not fail.
  template <class Add>
  void visit(const ClassRange& range, std::size_t begin, std::size_t end, std::size_t piece,
             bool update, const Add& add) {
    PairGradients& pairs = pairs_[piece];
    std::size_t touched = 0;
    for (std::size_t i = begin; i < end; ++i) {
      RowsAhead ahead;
      if (i + kPrefetchAhead < range.segments.size()) {
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
      add(pairs, identity);
      if (!update) continue;
      ClassGradient gradient = pairs.gradient();
      state_->update_row(optimizer_, identity, gradient, gradient_rows_.data() + piece * dim_,
                         ahead);
      ++touched;
    }
    touched_ += touched;
  }

  template <class Body>
  void for_ranges(std::size_t part, const Body& body) const {
    const std::size_t count = ranges_ / parts_;
    for (std::size_t i = 0; i < count; ++i) body(solved_.by_class[part * count + i]);
  }

  PartSums sums_of(std::size_t part) {
    return {partial_.data() + part * rows_per_pass_ * dim_,
            projections_.data() + part * rows_per_pass_};
  }

  // Whether a row is one of those, and solved sparsely.
  bool is_summed(std::size_t row, const RowSpan& rows) const {
    return row >= rows.first && row < rows.last && !solved_.rows[row].dense;
  }

  void add_to_embeddings(const PairGradients& pairs, std::size_t identity, const RowSpan& rows,
                         const PartSums& sums) {
    const double inverse = 1 / inputs_.prototypes.norms[identity];
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (!is_summed(pairs.row(i), rows)) continue;
      const std::size_t place = pairs.row(i) - rows.first;
      kernel_set().accumulate(pairs.coefficient(i) * inverse, inputs_.prototypes.row(identity),
                              dim_, sums.partial + place * dim_);
      sums.projections[place] += pairs.projection(i);
    }
  }

  void finish_embeddings(const RowSpan& rows) {
    inputs_.runtime.pool.run(rows.last - rows.first, [&](std::size_t i) {
      const SolvedRow& row = solved_.rows[rows.first + i];
      if (row.dense) return;
      float* out = grad_embeddings_ + (rows.first + i) * dim_;
      if (!(row.others > 0)) {
        std::fill_n(out, dim_, 0.0f);
        return;
      }
      double* const sums = sums_of(0).partial + i * dim_;
      double projection = projections_[i];
      for (std::size_t part = 1; part < parts_; ++part) {
        const double* const more = sums_of(part).partial + i * dim_;
        for (std::size_t k = 0; k < dim_; ++k) sums[k] += more[k];
        projection += sums_of(part).projections[i];
      }
      write_embedding_gradient(inputs_, rows.first + i, sums, projection, out);
    });
  }

  const HeadInputs& inputs_;
  const SolvedBatch& solved_;
  float* grad_embeddings_;
  PrototypeState* state_;
  const Optimizer& optimizer_;
  std::size_t dim_;
  std::size_t ranges_;
  std::size_t parts_;
  bool sums_embeddings_;
  bool is_fused_;       // sums and update in one pass over the classes
  std::size_t slices_;  // of a range, in an update alone
  std::size_t rows_per_pass_;
  Buffer<double> partial_;        // [parts, rows of a pass, D]
  Buffer<double> projections_;    // [parts, rows of a pass]
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
