#pragma once
// Rows that touch most classes (softmax, or supports beyond the scratch budget): the classes stream
// past in chunks, once or a few times to solve, once more to differentiate. Cosines here are
// float32 products, those of the largest posteriors exact (exact_classes.h); sums over classes are
// float64. The cosines of the first chunks are kept from pass to pass, within the budget.

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "cpu/matrix_product.h"
#include "head/exact_classes.h"
#include "head/solved_rows.h"

namespace alphamargin {

// Prototypes per chunk at most; fixed, so that sums have one order whatever the batch.
inline constexpr std::size_t kChunkIdentities = 1024;
// The sub-centres of an identity share a chunk.
inline std::size_t chunk_size(const PrototypeView& prototypes) {
  return kChunkIdentities / prototypes.sub_centres * prototypes.sub_centres;
}

inline ExactClasses exact_classes(const Loss& loss) {
  return ExactClasses::of(loss.beta(), loss.order.is_softmax() ? 0.0 : loss.order.excess);
}

// Buffers of a chunk, kept from chunk to chunk.
struct ChunkScratch {
  explicit ChunkScratch(MemoryAccount& scratch)
      : unkept(make_buffer<float>(scratch)),
        factors(make_buffer<float>(scratch)),
        panels(scratch) {}
  Buffer<float> unkept;   // cosines [R, count]
  Buffer<float> factors;  // 1/‖w‖ [count]
  ProductPanels panels;
};

// Marks the target's cosine in a row's part of a chunk as one that takes no part: −∞.
inline void strike_target(const SolvedRow& row, float* cosines, std::size_t begin,
                          std::size_t count) {
  if (!row.target.present) return;
  const auto label = static_cast<std::size_t>(row.label_row);
  if (label >= begin && label < begin + count) cosines[label - begin] = -INFINITY;
}

// The rows marked dense, as a compact batch of unit embeddings.
class DenseRows {
 public:
  DenseRows(const HeadInputs& inputs, const SolvedBatch& solved);

  bool empty() const { return indices_.empty(); }
  std::size_t size() const { return indices_.size(); }
  std::size_t index(std::size_t i) const { return indices_[i]; }
  const float* unit() const { return unit_.data(); }  // [R, D]

  // Bytes of prototypes that the passes so far have read.
  std::size_t bytes_read() const { return bytes_read_; }

  // Streams all classes past the rows: body(i, cosines, begin, count) for every row and chunk,
  // chunks in order, the rows of a chunk in parallel. What a body writes to the cosines the next
  // pass may see: no more than strike_target.
  template <class Body>
  void for_chunks(const HeadInputs& inputs, const Body& body) const {
    for_chunks(inputs, nullptr, body);
  }
  // And before all others first(i, cosines, begin, count) for the first chunk, which says from
  // where on its cosines are to be exact; then they are.
  template <class First, class Body>
  void for_chunks(const HeadInputs& inputs, const First& first, const Body& body) const {
    ChunkScratch chunk(inputs.scratch);
    for (std::size_t begin = 0; begin < inputs.prototypes.identities; begin += chunk_rows_) {
      inputs.cancellation.check();
      const std::size_t count = std::min(chunk_rows_, inputs.prototypes.identities - begin);
      float* const values = cosines(inputs, begin, count, chunk);
      const auto run = [&](const auto& visit) {
        inputs.runtime.pool.run(size(),
                                [&](std::size_t i) { visit(i, values + i * count, begin, count); });
      };
      if constexpr (!std::is_null_pointer_v<First>) {
        if (begin == 0) {
          run(first);
          sharpen_again(inputs, count, chunk, values);
        }
      }
      run(body);
    }
  }

  // Calls visit(place) with the places in the chunk of a row that have the inter-top-K penalty.
  template <class Visit>
  void for_top(std::size_t i, std::size_t begin, std::size_t count, const Visit& visit) const {
    if (penalties_.empty()) return;
    for (const std::int32_t identity : *top_[i]) {
      const std::size_t place = static_cast<std::size_t>(identity) * sub_centres_;
      if (place < begin || place >= begin + count) continue;
      for (std::size_t k = 0; k < sub_centres_; ++k) visit(place - begin + k);
    }
  }
  // Whether the identity is the row's target.
  bool is_target(std::size_t i, std::size_t identity) const {
    const SolvedRow& row = solved_.rows[indices_[i]];
    return row.target.present && identity == static_cast<std::size_t>(row.label_row);
  }
  // The penalty of a row's top classes.
  double penalty(std::size_t i) const { return penalties_.empty() ? 0.0 : penalties_[i]; }

  // From which cosine on those of a row are exact (exact_classes.h) in the chunk that begins there;
  // past the last chunk nothing happens.
  void set_exact_from(std::size_t i, std::size_t begin, double cosine) const;
  // The same for all chunks, which are made again.
  void set_exact_from(std::size_t i, double cosine) const;

  // The cosines [R, count] of the chunk [begin, begin + count), kept or made now; those of a row's
  // top classes with their penalty; −∞ for sub-centres that are not their identity's best, and, if
  // identities have several, for those of the row's target.
  float* cosines(const HeadInputs& inputs, std::size_t begin, std::size_t count,
                 ChunkScratch& chunk) const;
  // Allocates what chunks need, for loops that may not fail once they have begun.
  void reserve(const HeadInputs& inputs, ChunkScratch& chunk) const;
  // Fills in the factors of the chunk.
  static void find_factors(const HeadInputs& inputs, std::size_t begin, std::size_t count,
                           ChunkScratch& chunk);

 private:
  void make_cosines(const HeadInputs& inputs, std::size_t begin, std::size_t count,
                    ChunkScratch& chunk, float* values) const;
  bool kept_all() const;
  void sharpen_again(const HeadInputs& inputs, std::size_t count, ChunkScratch& chunk,
                     float* values) const;
  void find_offsets(const HeadInputs& inputs, std::size_t begin, std::size_t count) const;
  void sharpen(const HeadInputs& inputs, std::size_t i, std::size_t begin, std::size_t count,
               float* cosines) const;
  void keep_best_sub_centres(const SolvedRow& row, std::size_t begin, std::size_t count,
                             float* cosines) const;

  const SolvedBatch& solved_;
  std::size_t sub_centres_;
  std::size_t chunk_rows_;
  std::vector<std::size_t> indices_;
  std::vector<double> penalties_;                      // empty when no row has any
  std::vector<const std::vector<std::int32_t>*> top_;  // as penalties_
  Buffer<float> unit_;
  Buffer<float> packed_unit_;
  // ExactClasses::offset of the classes of the chunk made last, or one for all.
  mutable Buffer<double> offsets_;
  mutable std::size_t bytes_read_ = 0;
};

// Rows of α > 1 by passes over all classes (pass_solver.cc): their solutions and moments.
void solve_by_passes(const HeadInputs& inputs, const DenseRows& rows, SolvedBatch& solved);

}  // namespace alphamargin
