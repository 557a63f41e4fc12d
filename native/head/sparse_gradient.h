#pragma once
// The backward pass of rows solved sparsely, class by class: a prototype that concerns several rows
// of the batch comes from memory once, gives its part of their ∂x, gets its own gradient, is
// updated and goes back.

#include "head/head_gradient.h"

namespace alphamargin {

// The coefficient and the cosine of a pair.
struct PairGradient {
  double coefficient;
  double cosine;
};

PairGradient pair_gradient(const HeadInputs& inputs, const SolvedBatch& solved,
                           const ClassPair& pair);

// ∂w of a class before its last step: adds Σ g x̂ to sums [D], returns Σ g c; `any` becomes true if
// a coefficient is not zero.
double add_class_gradient(const HeadInputs& inputs, const SolvedBatch& solved,
                          const ClassRange& range, const ClassSegment& segment, double* sums,
                          bool& any);

// ∂x of the sparse rows (grad_embeddings may be nullptr) and, with a state, the update of the
// classes that sparse rows or the targets of dense rows touch.
BackwardStats sparse_backward(const HeadInputs& inputs, const SolvedBatch& solved,
                              float* grad_embeddings, PrototypeState* state,
                              const Optimizer& optimizer);

}  // namespace alphamargin
