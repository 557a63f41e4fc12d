#pragma once
// The backward pass of rows solved sparsely, class by class: a prototype that concerns several rows
// of the batch comes from memory once, gives its part of their ∂x, gets its own gradient, is
// updated and goes back. With more threads than the sums of ∂x have parts these come first, and it
// comes twice.

#include "cpu/kernel_set.h"
#include "head/head_gradient.h"

namespace alphamargin {

// g of one pair, and its cosine.
struct PairTerm {
  double coefficient;
  double cosine;
};
PairTerm term_of(const HeadInputs& inputs, const SolvedBatch& solved, const ClassPair& pair);

// Coefficients g, cosines and unit embeddings of the pairs of one class that have g ≠ 0.
class PairGradients {
 public:
  PairGradients(MemoryAccount& scratch, std::size_t rows)
      : rows_(make_buffer<std::uint32_t>(scratch, rows)),
        coefficients_(make_buffer<double>(scratch, rows)),
        projections_(make_buffer<double>(scratch, rows)),
        embeddings_(make_buffer<const float*>(scratch, rows)) {}

  void collect(const HeadInputs& inputs, const SolvedBatch& solved, const ClassRange& range,
               const ClassSegment& segment);

  std::size_t size() const { return count_; }
  std::uint32_t row(std::size_t i) const { return rows_[i]; }
  double coefficient(std::size_t i) const { return coefficients_[i]; }
  double projection(std::size_t i) const { return projections_[i]; }  // g c
  ClassGradient gradient() const;

 private:
  std::size_t count_ = 0;
  Buffer<std::uint32_t> rows_;
  Buffer<double> coefficients_;
  Buffer<double> projections_;
  Buffer<const float*> embeddings_;
};

// ∂x of the sparse rows (grad_embeddings may be nullptr) and, with a state, the update of the
// classes that sparse rows or the targets of dense rows touch.
BackwardStats sparse_backward(const HeadInputs& inputs, const SolvedBatch& solved,
                              float* grad_embeddings, PrototypeState* state,
                              const Optimizer& optimizer);

}  // namespace alphamargin
