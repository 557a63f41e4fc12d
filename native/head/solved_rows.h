#pragma once
// What the forward pass of the head leaves for the backward pass: every row's threshold and target,
// and, for rows solved sparsely, the classes of the support.

#include <cstdint>
#include <memory>
#include <vector>

#include "common/failure.h"
#include "cpu/prototype_filter.h"
#include "cpu/row_solver.h"
#include "head/class_segments.h"
#include "head/recent_thresholds.h"

namespace alphamargin {

// One candidate of a row (the target is kept in its SolvedRow); outside the support its posterior
// is exactly 0.
struct SupportEntry {
  std::int32_t identity;  // with sub-centres the row of the prototype
  double cosine;
  double posterior;
};

struct SolvedRow {
  std::int32_t label = -1;      // −1: none
  std::int32_t label_row = -1;  // the target's prototype: the label, or its best sub-centre
  double label_cosine = 0;      // c_y before the margin
  RowTarget target;
  RowSolution solution;
  double others = 0;         // Σ_{j≠y} p_j, so 1 − p_y without cancellation
  double own = 0;            // p_y
  double pull = 0;           // −∂ℓ/∂θ_y: 1 − p_y, less with label smoothing
  double excess_cosine = 0;  // Σ p_j (c_j − ψ_y)
  double smoothing = 0;      // what label smoothing adds to the loss
  double loss = 0;
  std::int64_t support = 0;  // classes with p > 0, the target included
  bool dense = false;        // solved by streaming twice: softmax, or more candidates than fit
  bool ignored = false;      // takes no part
};

// Cosines of the rows solved densely with the first chunks of classes, as many as the budget holds
// (dense_rows.h): passes after the first read them instead of making them again.
struct KeptCosines {
  Buffer<float> values;    // [chunks, rows, classes of a chunk]
  std::size_t chunks = 0;  // that there is room for
  std::size_t filled = 0;  // of them, the first so many
  // exact_classes.h, for every chunk and row: the same in all passes that make cosines again; +∞
  // until it is known.
  Buffer<double> exact_from;
};

struct SolvedBatch {
  std::vector<SolvedRow> rows;
  std::vector<Buffer<SupportEntry>> entries;  // ascending identities; empty for dense rows
  // Of rows solved densely, the identities that have the inter-top-K penalty; empty without one.
  std::vector<std::vector<std::int32_t>> top;
  std::shared_ptr<KeptCosines> kept;     // nullptr without dense rows
  std::vector<ClassRange> by_class;      // the same and the targets, transposed
  bool has_embedding_gradients = false;  // of the sparse rows, taken on the way
  std::size_t survivors = 0;
  std::size_t bytes_read = 0;  // of the shadow and the prototypes
  std::size_t overflow_rows = 0;

  bool has_dense_rows() const {
    for (const SolvedRow& row : rows) {
      if (row.dense) return true;
    }
    return false;
  }
};

// Everything a forward pass reads.
struct HeadInputs {
  Runtime& runtime;
  MemoryAccount& scratch;
  const PrototypeView& prototypes;
  const float* reference;  // [C] or nullptr
  const Embeddings& batch;
  const std::int32_t* labels;  // [B], checked, or nullptr: a posterior without a target
  std::size_t counted;         // rows that are not ignored
  const Loss& loss;
  std::size_t scratch_budget;  // bytes the rows may keep: candidates, or cosines of dense rows
  const Cancellation& cancellation;
  RecentThresholds* recent = nullptr;  // of the head; read and added to where rows are labelled

  // The inter-top-K penalty in a row, in units of the cosine; without a target there is none.
  double penalty(const SolvedRow& row) const { return row.target.present ? loss.top_penalty : 0.0; }
  // Of the identity that a prototype belongs to.
  double measure(std::size_t row) const {
    if (reference == nullptr) return 1.0;
    return static_cast<double>(
        reference[prototypes.sub_centres == 1 ? row : row / prototypes.sub_centres]);
  }
};

// Computes the exact target cosines; the common start of both kinds of rows.
SolvedBatch start_rows(const HeadInputs& inputs);

// Solves every row that fits the budget (sparse_rows.cc); the others are marked dense. Where all
// prototypes are near, ∂x of the solved rows is written at once (unless nullptr).
void solve_sparse_rows(const HeadInputs& inputs, float* grad_embeddings, SolvedBatch& solved);

// Solves the rows marked dense (dense_rows.cc).
void solve_dense_rows(const HeadInputs& inputs, SolvedBatch& solved);

// The whole forward pass; grad_embeddings [B, D] or nullptr as above.
SolvedBatch solve_rows(const HeadInputs& inputs, float* grad_embeddings);

}  // namespace alphamargin
