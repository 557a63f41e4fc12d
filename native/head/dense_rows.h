#pragma once
// Rows that touch most classes (softmax, or supports beyond the scratch budget): the classes stream
// past in chunks, once or a few times to solve, once more to differentiate. Cosines here are
// float32 products (error about 1e-7); sums over classes are float64.

#include <functional>

#include "head/solved_rows.h"

namespace alphamargin {

// Identities per chunk; fixed, so that sums have one order whatever the batch.
inline constexpr std::size_t kChunkIdentities = 1024;

// The rows marked dense, as a compact batch of unit embeddings.
class DenseRows {
 public:
  DenseRows(const HeadInputs& inputs, const SolvedBatch& solved);

  bool empty() const { return indices_.empty(); }
  std::size_t size() const { return indices_.size(); }
  std::size_t index(std::size_t i) const { return indices_[i]; }
  const float* unit() const { return unit_.data(); }  // [R, D]

  // Cosines [R, count] of the chunk [begin, begin + count).
  void cosines(const HeadInputs& inputs, std::size_t begin, std::size_t count,
               Buffer<float>& out) const;

 private:
  std::vector<std::size_t> indices_;
  Buffer<float> unit_;
};

// 1/‖w‖ of a chunk, as factors for packing.
Buffer<float> chunk_factors(const HeadInputs& inputs, std::size_t begin, std::size_t count);

// Posterior of a dense row at a class other than its target.
inline double dense_posterior(const HeadInputs& inputs, const SolvedRow& row, double cosine,
                              std::size_t identity) {
  return visit_posterior(inputs.loss, row.solution, [&](const auto& posterior_of) {
    return posterior_of(cosine, inputs.measure(identity));
  });
}

}  // namespace alphamargin
