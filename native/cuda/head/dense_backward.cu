// The backward pass of a batch with dense rows, on the device: chunk by chunk over all classes,
// cosines again, coefficients, both products, update. Formulas and order of sums: class
// DenseBackward of head/head_gradient.cc.
//
// Shapes: coefficients [R, count] of a chunk, ∂x sums [R, D], ∂w product [count, D].
// Accumulation: products in float32 blocks, sums over classes and rows in float64.
// Traffic: the prototypes once for the cosines and ∂x (chunk_products.h), once for the update.

#include <optional>

#include "cuda/block_reduce.cuh"
#include "cuda/head/class_gradient.cuh"
#include "cuda/head/dense_chunks.h"
#include "cuda/head/dense_update.h"
#include "cuda/head/prototype_row.cuh"
#include "cuda/launch.h"
#include "cuda/row_solver.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

// A block per dense row: the target's own terms of ∂x, Σ g ŵ and Σ g c. They do not go through
// float32: ŵ_y − c_y x̂ cancels when they are aligned.
__global__ void __launch_bounds__(kChunkThreads)
    target_terms_kernel(PrototypeArrays prototypes, const std::uint32_t* indices,
                        const RowState* rows, GradientFactors factors, double* projections,
                        double* sums) {
  const std::size_t i = blockIdx.x;
  const RowState& row = rows[indices[i]];
  const bool has_target = row.label >= 0;
  const std::size_t label = has_target ? static_cast<std::size_t>(row.label_row) : 0;
  const double coefficient = has_target ? target_coefficient(factors, row) : 0;
  const double weight = coefficient / prototypes.norms[label];
  const PrototypeRow prototype(prototypes, label);
  for (std::size_t k = threadIdx.x; k < prototypes.dim; k += blockDim.x) {
    sums[i * prototypes.dim + k] = weight * static_cast<double>(prototype[k]);
  }
  if (threadIdx.x == 0) projections[i] = coefficient * row.label_cosine;
}

// A block per dense row: coefficients of the chunk but for the target's, and Σ g c of the row.
// Takes the penalty off the chunk's cosines; those of −∞, which take no part, are 0 from now on.
__global__ void __launch_bounds__(kChunkThreads)
    coefficients_kernel(DeviceLoss loss, PrototypeArrays prototypes, ChunkArrays chunk,
                        const RowState* rows, GradientFactors factors, TopArrays top,
                        float* coefficients, double* projections) {
  const std::size_t i = blockIdx.x;
  const RowState& row = rows[chunk.indices[i]];
  const DenseRow classes(chunk, prototypes, i, rows);
  const RowSolution solution = row.solution;
  float* const own = coefficients + i * chunk.count;
  classes.for_sums([&](std::size_t first, std::size_t end) {
    double projection = 0;
    for (std::size_t j = first + threadIdx.x; j < end; j += blockDim.x) {
      double cosine = classes.cosine(j);
      const bool takes_part = cosine > -INFINITY;
      if (!takes_part) cosine = chunk.cosines[i * chunk.count + j] = 0;
      double coefficient = 0;
      if (takes_part && !classes.is_target(j)) {
        const double p = posterior_of(loss, solution, cosine, classes.measure(j));
        coefficient = factors.entry * (p - factors.uniform);
      }
      own[j] = static_cast<float>(coefficient);
      projection += coefficient * cosine;
    }
    projection = block_sum(projection);
    if (threadIdx.x != 0) return;
    // The penalty is in the logits, not in the cosines.
    top.for_row(chunk.indices[i], [&](std::int32_t of_top) {
      const std::size_t place = static_cast<std::size_t>(of_top) * prototypes.sub_centres;
      if (place < chunk.begin + first || place >= chunk.begin + end) return;
      const std::size_t begin = place - chunk.begin;
      for (std::size_t j = begin; j < begin + prototypes.sub_centres; ++j) {
        projection -= own[j] * top.penalty;
        chunk.cosines[i * chunk.count + j] -= static_cast<float>(top.penalty);
      }
    });
    projections[i] += projection;
  });
}

// ∂x = (Σ g ŵ − (Σ g c) x̂)/‖x‖ of the dense rows.
__global__ void __launch_bounds__(kChunkThreads)
    dense_embedding_gradient_kernel(BatchArrays batch, const std::uint32_t* indices,
                                    const double* sums, const double* projections,
                                    float* grad_embeddings) {
  const std::size_t i = blockIdx.x;
  const std::size_t row = indices[i];
  const double inverse = 1 / batch.norms[row];
  for (std::size_t k = threadIdx.x; k < batch.dim; k += blockDim.x) {
    grad_embeddings[row * batch.dim + k] = static_cast<float>(
        (sums[i * batch.dim + k] - projections[i] * batch.values[row * batch.dim + k] * inverse) *
        inverse);
  }
}

}  // namespace

void dense_backward(const HeadCall& call, const std::vector<std::uint32_t>& dense_rows,
                    const Supports& supports, const SortedPairs& pairs, float* grad_embeddings,
                    const Optimizer* optimizer, std::uint32_t& touched) {
  DeviceContext& context = call.context;
  const std::size_t rows = dense_rows.size();
  const std::size_t identities = call.prototypes.identities;

  DenseChunks chunks(call, dense_rows);
  const std::size_t chunk_classes = chunks.most_classes();
  DeviceBuffer<float> coefficients(context, call.scratch, rows * chunk_classes);
  DeviceBuffer<double> projections(context, call.scratch, rows);
  DeviceBuffer<double> sums(context, call.scratch, rows * call.batch.dim);
  std::optional<ChunkUpdate> prototypes;
  if (optimizer != nullptr) prototypes.emplace(call, supports, pairs, *optimizer, chunk_classes);
  chunks.products().reserve_gradients(grad_embeddings != nullptr, optimizer != nullptr);

  const GradientFactors factors =
      GradientFactors::of(call.loss, call.counted, call.prototypes.classes());
  const LaunchShape per_row{static_cast<unsigned>(rows), kChunkThreads};
  launch(context, "target_terms_kernel", &target_terms_kernel, per_row, call.prototypes,
         chunks.indices(), call.rows, factors, projections.data(), sums.data());
  // Not cancelled from here on: prototypes may have been written.
  for (std::size_t begin = 0; begin < identities; begin += chunk_classes) {
    const ChunkArrays chunk = chunks.cosines(call, begin);
    launch(context, "coefficients_kernel", &coefficients_kernel, per_row, call.loss,
           call.prototypes, chunk, call.rows, factors, call.top, coefficients.data(),
           projections.data());
    if (grad_embeddings != nullptr) {
      chunks.products().add_embedding_gradients(coefficients.data(), sums.data());
    }
    if (prototypes) prototypes->update(chunk, coefficients.data(), chunks.products());
  }
  if (grad_embeddings != nullptr) {
    launch(context, "dense_embedding_gradient_kernel", &dense_embedding_gradient_kernel, per_row,
           call.batch, chunks.indices(), sums.data(), projections.data(), grad_embeddings);
  }
  if (prototypes) prototypes->download_touched(touched);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
