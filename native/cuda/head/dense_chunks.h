#pragma once
// The rows marked dense as a compact batch, and the classes streaming past them in chunks. Cosines
// here are float32 products, those of the largest posteriors exact (head/exact_classes.h); sums
// over classes are float64.

#include <algorithm>
#include <numeric>
#include <vector>

#include "cuda/head/chunk_products.h"
#include "cuda/head/head_call.h"
#include "cuda/pair_product.h"
#include "head/exact_classes.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

inline constexpr unsigned kChunkThreads = 256;

// Identities whose terms are added up together, at most. Chunks have 1, 2 or 4 times as many: it is
// not to be seen in any sum how many rows stream at a time.
inline constexpr std::size_t kSumIdentities = 4096;

// The sub-centres of an identity share a sum. Whole pieces of the products too, if that can be.
inline std::size_t sum_identities(std::size_t sub_centres) {
  const std::size_t pieces = std::lcm(sub_centres, kPairPiece);
  const std::size_t unit = pieces <= kSumIdentities ? pieces : sub_centres;
  return kSumIdentities / unit * unit;
}
// A row's large posteriors are chosen by what is known of it at the ends of such sections.
inline std::size_t section_identities(std::size_t sub_centres) {
  return 4 * sum_identities(sub_centres);
}

// Identities of a chunk for so many rows: as many as keep float32 arrays [R, count] and [count, D]
// within 44 MB together. (There are about four of the first kind and two of the second.) Few
// launches of large kernels suit small batches better than many small ones, and large arrays would
// leave the cache. Where a sum has no whole pieces, each is a chunk: pieces begin with it.
inline std::size_t chunk_identities(std::size_t rows, std::size_t dim, std::size_t sub_centres) {
  constexpr std::size_t kMostElements = std::size_t{11} << 20;
  const std::size_t sum = sum_identities(sub_centres);
  if (sum % kPairPiece != 0) return sum;
  std::size_t count = 4 * sum;
  while (count > sum && count * (rows + dim) > kMostElements) count /= 2;
  return count;
}

__host__ __device__ inline ExactClasses exact_classes(const DeviceLoss& loss) {
  return ExactClasses::of(loss.beta, loss.excess);
}

// A chunk of classes as kernels see it.
struct ChunkArrays {
  const std::uint32_t* indices;  // [R]: rows of the batch
  float* cosines;                // [R, count], those of top classes with their penalty; −∞ for
                                 // sub-centres that are not their identity's best
  std::size_t rows;              // R
  std::size_t begin;             // first identity
  std::size_t count;
  std::size_t sum_count;  // identities whose terms are added up together
};

// A row of a chunk.
struct DenseRow {
  const ChunkArrays& chunk;
  const PrototypeArrays& prototypes;
  std::size_t place;         // among the dense rows
  std::size_t target_begin;  // of the target's prototypes; without one all are before them
  std::size_t target_end;

  __device__ DenseRow(const ChunkArrays& arrays, const PrototypeArrays& all, std::size_t i,
                      const RowState* rows)
      : chunk(arrays), prototypes(all), place(i), target_begin(~std::size_t{0}), target_end(0) {
    const std::int64_t label = rows[chunk.indices[i]].label;
    if (label < 0) return;
    target_begin = static_cast<std::size_t>(label) * prototypes.sub_centres;
    target_end = target_begin + prototypes.sub_centres;
  }

  __device__ double cosine(std::size_t j) const { return chunk.cosines[place * chunk.count + j]; }
  __device__ double measure(std::size_t j) const { return prototypes.measure(chunk.begin + j); }
  // θ + log q.
  __device__ double logit(const DeviceLoss& loss, std::size_t j) const {
    const double theta = loss.scale * cosine(j);
    return prototypes.reference == nullptr ? theta : theta + log(measure(j));
  }
  __device__ bool is_target(std::size_t j) const {
    const std::size_t identity = chunk.begin + j;
    return identity >= target_begin && identity < target_end;
  }
  // body(first, end) for the classes of each sum.
  template <class Body>
  __device__ void for_sums(const Body& body) const {
    for (std::size_t first = 0; first < chunk.count; first += chunk.sum_count) {
      body(first, min(chunk.count, first + chunk.sum_count));
    }
  }
};

class DenseChunks {
 public:
  // `dense_rows` is read until the context is synchronised.
  DenseChunks(const HeadCall& call, const std::vector<std::uint32_t>& dense_rows);

  std::size_t rows() const { return rows_; }
  std::size_t most_classes() const { return most_classes_; }  // of a chunk
  const std::uint32_t* indices() const { return indices_.data(); }
  ChunkProducts& products() { return *products_; }  // of the last chunk

  // Queues the cosines of the classes begin … and returns the chunk. Those are exact that are to be
  // by what is known of the rows at that time (RowState::exact_from).
  ChunkArrays cosines(const HeadCall& call, std::size_t begin);
  // Queues the same for a chunk whose rows are known better by now.
  void sharpen_again(const HeadCall& call, const ChunkArrays& chunk);

  // body(chunk) for all chunks in order; cancellation is checked between them.
  template <class Body>
  void for_chunks(const HeadCall& call, const Body& body) {
    for (std::size_t begin = 0; begin < call.prototypes.identities; begin += most_classes_) {
      call.cancellation.check();
      body(cosines(call, begin));
    }
  }

 private:
  std::size_t rows_;
  std::size_t most_classes_;
  DeviceBuffer<std::uint32_t> indices_;
  DeviceBuffer<float> cosines_;
  std::unique_ptr<ChunkProducts> products_;
};

// dense_softmax.cu, pass_solver.cu: the rows' solutions and moments.
void solve_softmax(const HeadCall& call, DenseChunks& chunks);
void solve_by_passes(const HeadCall& call, DenseChunks& chunks);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
