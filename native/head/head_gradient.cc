#include "head/head_gradient.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cpu/kernel_set.h"
#include "cpu/matrix_product.h"
#include "head/dense_rows.h"
#include "head/gradient_parts.h"
#include "head/sparse_gradient.h"

namespace alphamargin {
namespace {

constexpr std::size_t kPieces = 64;

// Chunk by chunk over all classes: cosines (kept, or made again), coefficients, both products,
// update.
class DenseBackward {
 public:
  DenseBackward(const HeadInputs& inputs, const SolvedBatch& solved, float* grad_embeddings,
                PrototypeState* state, const Optimizer& optimizer)
      : inputs_(inputs),
        solved_(solved),
        grad_embeddings_(grad_embeddings),
        state_(state),
        optimizer_(optimizer),
        dim_(inputs.batch.dim),
        rows_(inputs, solved),
        chunk_(inputs.scratch),
        products_(make_buffer<float>(inputs.scratch)),
        class_projections_(make_buffer<double>(inputs.scratch)),
        product_(make_buffer<float>(
            inputs.scratch,
            std::max(rows_.size(), state == nullptr ? 0 : kChunkIdentities) * dim_)),
        sums_(make_buffer<double>(inputs.scratch, rows_.size() * dim_)),
        projections_(make_buffer<double>(inputs.scratch, rows_.size())),
        gradient_rows_(make_buffer<double>(inputs.scratch, kPieces * dim_)),
        pairs_(kPieces, PairGradients(inputs.scratch, inputs.batch.rows)) {
    std::fill(sums_.begin(), sums_.end(), 0.0);
    std::fill(projections_.begin(), projections_.end(), 0.0);
  }

  BackwardStats run() {
    const std::size_t identities = inputs_.prototypes.identities;
    BackwardStats stats;
    const std::size_t chunk_rows = chunk_size(inputs_.prototypes);
    reserve(std::min(chunk_rows, identities));
    for (std::size_t begin = 0; begin < identities; begin += chunk_rows) {
      const std::size_t count = std::min(chunk_rows, identities - begin);
      DenseRows::find_factors(inputs_, begin, count, chunk_);
      // From cosines to coefficients in place; Σ_i g c per class is taken before they are lost.
      coefficients_ = rows_.cosines(inputs_, begin, count, chunk_);
      to_coefficients(begin, count);
      if (grad_embeddings_ != nullptr) add_embedding_gradient(begin, count);
      if (state_ != nullptr) stats.touched += update_chunk(begin, count);
    }
    solved_.kept->filled = 0;  // they are coefficients now
    stats.moved_bytes = rows_.bytes_read() + identities * dim_ * sizeof(float);
    if (state_ != nullptr) stats.moved_bytes += stats.touched * state_->update_bytes();
    if (grad_embeddings_ != nullptr) {
      inputs_.runtime.pool.run(rows_.size(), [&](std::size_t i) {
        const std::size_t row = rows_.index(i);
        write_embedding_gradient(inputs_, row, sums_.data() + i * dim_, projections_[i],
                                 grad_embeddings_ + row * dim_);
      });
    }
    return stats;
  }

 private:
  // Everything that chunks need, before the first prototype is written.
  void reserve(std::size_t count) {
    rows_.reserve(inputs_, chunk_);
    chunk_.panels.reserve(rows_.size(), count, dim_);
    chunk_.panels.reserve(count, rows_.size(), dim_);
    products_.reserve(rows_.size() * count);
    class_projections_.reserve(count);
    segment_of_.reserve(count);
  }

  void to_coefficients(std::size_t begin, std::size_t count) {
    products_.resize(rows_.size() * count);
    class_projections_.resize(count);
    inputs_.runtime.pool.run(rows_.size(), [&](std::size_t i) {
      const SolvedRow& row = solved_.rows[rows_.index(i)];
      float* values = coefficients_ + i * count;
      float* product = products_.data() + i * count;
      const double factor = class_factor(inputs_);
      double projection = 0;
      const auto label = static_cast<std::size_t>(row.label_row);
      if (label >= begin && label < begin + count) projection = add_target(i, row);
      // Not through float32: ŵ_y − c_y x̂ cancels when they are aligned. Its ∂w is the sparse
      // pass's.
      strike_target(row, values, begin, count);
      const double uniform =
          inputs_.loss.smoothing / static_cast<double>(inputs_.prototypes.classes());
      if (inputs_.loss.order.is_softmax() && inputs_.reference == nullptr && uniform == 0) {
        const RowSolution& solution = row.solution;
        projection +=
            kernel_set().exp_coefficients({inputs_.loss.beta(), solution.reference, solution.lower},
                                          factor, values, product, count);
      } else {
        visit_posterior(inputs_.loss, row.solution, [&](const auto& posterior_of) {
          for (std::size_t j = 0; j < count; ++j) {
            const double cosine = values[j];
            const bool takes_part = cosine > -2;
            const double coefficient =
                takes_part ? factor * (posterior_of(cosine, inputs_.measure(begin + j)) - uniform)
                           : 0.0;
            const double part = takes_part ? coefficient * cosine : 0.0;
            values[j] = static_cast<float>(coefficient);
            product[j] = static_cast<float>(part);
            projection += part;
          }
        });
      }
      // The penalty is in the logits, not in the cosines.
      rows_.for_top(i, begin, count, [&](std::size_t j) {
        const double excess = values[j] * rows_.penalty(i);
        product[j] = static_cast<float>(product[j] - excess);
        projection -= excess;
      });
      projections_[i] += projection;
    });
    constexpr std::size_t kBlock = 64;
    inputs_.runtime.pool.run((count + kBlock - 1) / kBlock, [&](std::size_t block) {
      const std::size_t last = std::min(count, (block + 1) * kBlock);
      for (std::size_t j = block * kBlock; j < last; ++j) class_projections_[j] = 0;
      for (std::size_t i = 0; i < rows_.size(); ++i) {
        for (std::size_t j = block * kBlock; j < last; ++j) {
          class_projections_[j] += products_[i * count + j];
        }
      }
    });
  }

  // The target's own term of ∂x_i; returns g c.
  double add_target(std::size_t i, const SolvedRow& row) {
    const double coefficient = target_coefficient(inputs_, row);
    const auto label = static_cast<std::size_t>(row.label_row);
    kernel_set().accumulate(coefficient / inputs_.prototypes.norms[label],
                            inputs_.prototypes.row(label), dim_, sums_.data() + i * dim_);
    return coefficient * row.label_cosine;
  }

  void add_embedding_gradient(std::size_t begin, std::size_t count) {
    matrix_product(inputs_.runtime, chunk_.panels, {coefficients_, count},
                   {inputs_.prototypes.row(begin), dim_, false, chunk_.factors.data()},
                   rows_.size(), count, dim_, product_.data());
    inputs_.runtime.pool.run(rows_.size(), [&](std::size_t i) {
      for (std::size_t k = 0; k < dim_; ++k) sums_[i * dim_ + k] += product_[i * dim_ + k];
    });
  }

  std::size_t update_chunk(std::size_t begin, std::size_t count) {
    matrix_product(inputs_.runtime, chunk_.panels, {coefficients_, count, true},
                   {rows_.unit(), dim_}, count, rows_.size(), dim_, product_.data());
    // Sparse rows of the same batch, and all targets, add to the same prototypes.
    find_segments(begin, count);
    std::array<std::size_t, kPieces> touched{};
    inputs_.runtime.pool.run(kPieces, [&](std::size_t piece) {
      PairGradients& pairs = pairs_[piece];
      const std::size_t last = count * (piece + 1) / kPieces;
      for (std::size_t j = count * piece / kPieces; j < last; ++j) {
        ClassGradient gradient;
        if (segment_of_[j].segment != nullptr) {
          pairs.collect(inputs_, solved_, *segment_of_[j].range, *segment_of_[j].segment);
          gradient = pairs.gradient();
        }
        if (gradient.pairs == 0 && !has_coefficient(j, count)) continue;
        gradient.initial = product_.data() + j * dim_;
        gradient.projection += class_projections_[j];
        state_->update_row(optimizer_, begin + j, gradient, gradient_rows_.data() + piece * dim_,
                           RowsAhead{});
        ++touched[piece];
      }
    });
    std::size_t total = 0;
    for (const std::size_t piece : touched) total += piece;
    return total;
  }

  // Which segments belong to the chunk: chunks and segments both ascend.
  void find_segments(std::size_t begin, std::size_t count) {
    segment_of_.assign(count, {});
    while (next_range_ < solved_.by_class.size()) {
      const ClassRange& range = solved_.by_class[next_range_];
      for (; next_segment_ < range.segments.size(); ++next_segment_) {
        const ClassSegment& segment = range.segments[next_segment_];
        const auto identity = static_cast<std::size_t>(segment.identity);
        if (identity >= begin + count) return;
        segment_of_[identity - begin] = {&range, &segment};
      }
      ++next_range_;
      next_segment_ = 0;
    }
  }

  bool has_coefficient(std::size_t j, std::size_t count) const {
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      if (coefficients_[i * count + j] != 0) return true;
    }
    return false;
  }

  const HeadInputs& inputs_;
  const SolvedBatch& solved_;
  float* grad_embeddings_;
  PrototypeState* state_;
  const Optimizer& optimizer_;
  std::size_t dim_;
  DenseRows rows_;
  ChunkScratch chunk_;
  float* coefficients_ = nullptr;  // of the chunk [R, count]
  Buffer<float> products_;
  Buffer<double> class_projections_;
  Buffer<float> product_;
  Buffer<double> sums_;
  Buffer<double> projections_;
  Buffer<double> gradient_rows_;  // one for each piece
  std::vector<PairGradients> pairs_;
  struct SegmentOfClass {
    const ClassRange* range = nullptr;
    const ClassSegment* segment = nullptr;
  };
  std::vector<SegmentOfClass> segment_of_;  // of every class in the chunk
  std::size_t next_range_ = 0;
  std::size_t next_segment_ = 0;
};

}  // namespace

double largest_coefficient(const HeadInputs& inputs, const SolvedBatch& solved) {
  double largest = 1;
  for (const SolvedRow& row : solved.rows) {
    largest = std::max(largest, std::fabs(row.target.derivative));
  }
  return inputs.loss.scale * largest;
}

BackwardStats backward(const HeadInputs& inputs, const SolvedBatch& solved, float* grad_embeddings,
                       PrototypeState* state, const Optimizer& optimizer) {
  if (grad_embeddings == nullptr && state == nullptr) return {};
  if (!solved.has_dense_rows()) {
    return sparse_backward(inputs, solved, grad_embeddings, state, optimizer);
  }
  // The dense pass visits every class, so it makes all updates.
  BackwardStats stats;
  if (grad_embeddings != nullptr) {
    stats = sparse_backward(inputs, solved, grad_embeddings, nullptr, optimizer);
  }
  const BackwardStats dense =
      DenseBackward(inputs, solved, grad_embeddings, state, optimizer).run();
  return {dense.touched, stats.moved_bytes + dense.moved_bytes};
}

}  // namespace alphamargin
