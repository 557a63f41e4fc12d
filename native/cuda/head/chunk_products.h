#pragma once
// The products of dense rows with the classes of a chunk, in float32 precision: cosines, and both
// gradients from the coefficients G.
//
// Two ways: multiply-adds (chunk_products_simt.cu) below compute capability 8.0, and pairs of
// float16 on tensor cores (chunk_products_mma.cu); with `fast`, of numbers rounded to float16.
// Which one depends on the device alone: a row's bits do not depend on its batch.
//
// Shapes: x̂ [R, D], ŵ [count, D], G [R, count].

#include <memory>

#include "cuda/head/head_call.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

class ChunkProducts {
 public:
  virtual ~ChunkProducts() = default;

  // cosines [R, count] of the classes begin … begin + count − 1, which are the chunk from now on.
  virtual void cosines(std::size_t begin, std::size_t count, float* cosines) = 0;

  // Allocates what the others need; before the first prototype is written.
  virtual void reserve_gradients(bool of_embeddings, bool of_classes) = 0;
  // sums [R, D] += G ŵ
  virtual void add_embedding_gradients(const float* coefficients, double* sums) = 0;
  // gradients [count, D] = Gᵀ x̂
  virtual void class_gradients(const float* coefficients, float* gradients) = 0;

 protected:
  ChunkProducts() = default;
  ChunkProducts(const ChunkProducts&) = delete;
  ChunkProducts& operator=(const ChunkProducts&) = delete;
};

// `indices` [rows], on the device: the dense rows of the batch. `most_classes`: of a chunk.
std::unique_ptr<ChunkProducts> chunk_products(const HeadCall& call, const std::uint32_t* indices,
                                              std::size_t rows, std::size_t most_classes);

// chunk_products_simt.cu, chunk_products_mma.cu --------------------------------------------------

std::unique_ptr<ChunkProducts> simt_products(const HeadCall& call, const std::uint32_t* indices,
                                             std::size_t rows, std::size_t most_classes);
std::unique_ptr<ChunkProducts> mma_products(const HeadCall& call, const std::uint32_t* indices,
                                            std::size_t rows, std::size_t most_classes);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
