#pragma once
// The rows marked dense as a compact batch, and the classes streaming past them in chunks. Cosines
// here are float32 products, those of the largest posteriors exact (head/exact_classes.h); sums
// over classes are float64.

#include <algorithm>
#include <vector>

#include "cuda/head/chunk_products.h"
#include "cuda/head/head_call.h"
#include "head/exact_classes.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

inline constexpr unsigned kChunkThreads = 256;

// Identities whose terms are added up together. Chunks have 1, 2 or 4 times as many: it is not to
// be seen in any sum how many rows stream at a time.
inline constexpr std::size_t kSumIdentities = 4096;
// A row's large posteriors are chosen by what is known of it at the ends of such sections.
inline constexpr std::size_t kSectionIdentities = 4 * kSumIdentities;

// Identities of a chunk for so many rows: as many as keep float32 arrays [R, count] and [count, D]
// within 44 MB together. (There are about four of the first kind and two of the second.) Few
// launches of large kernels suit small batches better than many small ones, and large arrays would
// leave the cache.
inline std::size_t chunk_identities(std::size_t rows, std::size_t dim) {
  constexpr std::size_t kMostElements = std::size_t{11} << 20;
  std::size_t count = kSectionIdentities;
  while (count > kSumIdentities && count * (rows + dim) > kMostElements) count /= 2;
  return count;
}

__host__ __device__ inline ExactClasses exact_classes(const DeviceLoss& loss) {
  return ExactClasses::of(loss.beta, loss.excess);
}

// A chunk of classes as kernels see it.
struct ChunkArrays {
  const std::uint32_t* indices;  // [R]: rows of the batch
  float* cosines;                // [R, count], those of top classes with their penalty
  std::size_t rows;              // R
  std::size_t begin;             // first identity
  std::size_t count;
};

// A row of a chunk.
struct DenseRow {
  const ChunkArrays& chunk;
  const PrototypeArrays& prototypes;
  std::size_t place;  // among the dense rows
  std::int64_t label;

  __device__ double cosine(std::size_t j) const { return chunk.cosines[place * chunk.count + j]; }
  __device__ double measure(std::size_t j) const {
    return prototypes.reference == nullptr ? 1.0 : prototypes.reference[chunk.begin + j];
  }
  // θ + log q.
  __device__ double logit(const DeviceLoss& loss, std::size_t j) const {
    const double theta = loss.scale * cosine(j);
    return prototypes.reference == nullptr ? theta : theta + log(measure(j));
  }
  __device__ bool is_target(std::size_t j) const {
    return static_cast<std::int64_t>(chunk.begin + j) == label;
  }
  // body(first, end) for the classes of each sum.
  template <class Body>
  __device__ void for_sums(const Body& body) const {
    for (std::size_t first = 0; first < chunk.count; first += kSumIdentities) {
      body(first, min(chunk.count, first + kSumIdentities));
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

  // Queues the cosines of the classes begin … and returns the chunk.
  ChunkArrays cosines(const HeadCall& call, std::size_t begin);

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

// Queues exact cosines for the classes of a chunk that are to have them (RowState::exact_from).
// cosines() does it by what is known of the rows when it is called.
void sharpen(const HeadCall& call, const ChunkArrays& chunk);

// dense_softmax.cu, pass_solver.cu: the rows' solutions and moments.
void solve_softmax(const HeadCall& call, DenseChunks& chunks);
void solve_by_passes(const HeadCall& call, DenseChunks& chunks);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
