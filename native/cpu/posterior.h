#pragma once
// α-entmax posteriors of rows of logits, and their backward pass.
//
//   p_j = q_j [1 + (α−1)(θ_j − τ)]_+^{1/(α−1)},  Σ_j p_j = 1;  α = 1: softmax with prior q
//
// Shapes: logits, posterior [B, C] row-major; reference q [C] positive, not normalised, or nullptr.
// Accumulation: float64 in every row, classes in ascending order. Rows are independent, so a row's
// result does not depend on B or on the number of threads.
// Traffic: a row is checked, solved and evaluated while it is in cache; from memory the logits are
// read once and the posterior is written once. Source: Peters, Niculae, Martins 2019; Roulet et al.
// 2025, arXiv 2501.18537.

#include <cstdint>
#include <vector>

#include "common/failure.h"
#include "common/memory_account.h"
#include "common/real_matrix.h"

namespace alphamargin {

struct Runtime;

struct SparseRows {
  Buffer<std::int32_t> row_offsets;  // [B + 1]
  Buffer<std::int32_t> columns;
  Buffer<float> values;
};

void posterior(Runtime& runtime, const RealMatrix& logits, double alpha, const float* reference,
               float* out, const Cancellation& cancellation);

SparseRows sparse_posterior(Runtime& runtime, const RealMatrix& logits, double alpha,
                            const float* reference, const Cancellation& cancellation);

// grad θ = u ⊙ (v − ⟨u, v⟩/⟨u, 1⟩), u_j = q_j^{α−1} p_j^{2−α} on the support and 0 elsewhere, for
// v = grad p. Exactly zero outside the support. The entry of largest weight is minus the sum of the
// others, so that it neither cancels nor overflows for α > 2, where u grows as p → 0.
void posterior_backward(Runtime& runtime, const RealMatrix& grad_posterior,
                        const RealMatrix& posterior, double alpha, const float* reference,
                        float* out, const Cancellation& cancellation);

// The error of more entries than int32 offsets can address.
inline Failure too_many_entries() {
  return Failure(FailureCode::kOutOfMemory,
                 "expected at most 2147483647 posterior entries but received more; "
                 "call it with fewer rows at a time");
}

// Concatenates per-row lists; throws when the entries exceed what int32 offsets can address.
SparseRows join_rows(MemoryAccount& account, const std::vector<Buffer<std::int32_t>>& columns,
                     const std::vector<Buffer<float>>& values);

}  // namespace alphamargin
