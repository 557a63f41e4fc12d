// The backward pass of a batch with dense rows, on the device: chunk by chunk over all classes,
// cosines again, coefficients, both products, update. Formulas and order of sums: class
// DenseBackward of head/head_gradient.cc.
//
// Shapes: coefficients [R, count] of a chunk, ∂x sums [R, D], ∂w product [count, D].
// Accumulation: products in float32 blocks, sums over classes and rows in float64.
// Traffic: the prototypes once for the cosines and ∂x (chunk_products.h), once for the update.

#include <algorithm>

#include "cuda/block_reduce.cuh"
#include "cuda/head/class_gradient.cuh"
#include "cuda/head/dense_chunks.h"
#include "cuda/head/update_row.cuh"
#include "cuda/launch.h"
#include "cuda/row_solver.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr std::size_t kSharedGradientBytes = 40 * 1024;
// Blocks that keep their sums in device memory, for rows too wide for shared memory.
constexpr std::size_t kSumBlocks = 512;
constexpr unsigned kProjectionThreads = 256;

// A block per dense row: the target's own terms of ∂x, Σ g ŵ and Σ g c. They do not go through
// float32: ŵ_y − c_y x̂ cancels when they are aligned.
__global__ void __launch_bounds__(kChunkThreads)
    target_terms_kernel(PrototypeArrays prototypes, const std::uint32_t* indices,
                        const RowState* rows, GradientFactors factors, double* projections,
                        double* sums) {
  const std::size_t i = blockIdx.x;
  const RowState& row = rows[indices[i]];
  const bool has_target = row.label >= 0;
  const std::size_t label = has_target ? static_cast<std::size_t>(row.label) : 0;
  const double coefficient = has_target ? target_coefficient(factors, row) : 0;
  const double weight = coefficient / prototypes.norms[label];
  const PrototypeRow prototype(prototypes, label);
  for (std::size_t k = threadIdx.x; k < prototypes.dim; k += blockDim.x) {
    sums[i * prototypes.dim + k] = weight * static_cast<double>(prototype[k]);
  }
  if (threadIdx.x == 0) projections[i] = coefficient * row.label_cosine;
}

// A block per dense row: coefficients of the chunk but for the target's, and Σ g c of the row.
// Takes the penalty off the chunk's cosines.
__global__ void __launch_bounds__(kChunkThreads)
    coefficients_kernel(DeviceLoss loss, PrototypeArrays prototypes, ChunkArrays chunk,
                        const RowState* rows, GradientFactors factors, TopArrays top,
                        float* coefficients, double* projections) {
  const std::size_t i = blockIdx.x;
  const RowState& row = rows[chunk.indices[i]];
  const DenseRow classes{chunk, prototypes, i, row.label};
  const RowSolution solution = row.solution;
  float* const own = coefficients + i * chunk.count;
  classes.for_sums([&](std::size_t first, std::size_t end) {
    double projection = 0;
    for (std::size_t j = first + threadIdx.x; j < end; j += blockDim.x) {
      const double cosine = classes.cosine(j);
      double coefficient = 0;
      if (!classes.is_target(j)) {
        const double p = posterior_of(loss, solution, cosine, classes.measure(j));
        coefficient = factors.entry * (p - factors.uniform);
      }
      own[j] = static_cast<float>(coefficient);
      projection += coefficient * cosine;
    }
    projection = block_sum(projection);
    if (threadIdx.x != 0) return;
    // The penalty is in the logits, not in the cosines.
    top.for_row(chunk.indices[i], [&](std::int32_t identity) {
      const auto place = static_cast<std::size_t>(identity);
      if (place < chunk.begin + first || place >= chunk.begin + end) return;
      const std::size_t j = place - chunk.begin;
      projection -= own[j] * top.penalty;
      chunk.cosines[i * chunk.count + j] -= static_cast<float>(top.penalty);
    });
    projections[i] += projection;
  });
}

// A block per 32 classes: Σ_i g c over the dense rows, and whether any of them has a coefficient.
// Warp w takes the rows w, w + 8, … in ascending order; then the warps are added up in order.
__global__ void __launch_bounds__(kProjectionThreads)
    class_projection_kernel(ChunkArrays chunk, const float* coefficients, double* class_projections,
                            std::uint8_t* touched) {
  constexpr unsigned kWarps = kProjectionThreads / kWarpSize;
  ALPHAMARGIN_SHARED(double, projections, kProjectionThreads);
  ALPHAMARGIN_SHARED(unsigned, counts, kProjectionThreads);
  const unsigned lane = threadIdx.x % kWarpSize;
  const std::size_t j = std::size_t{blockIdx.x} * kWarpSize + lane;
  double projection = 0;
  unsigned count = 0;
  if (j < chunk.count) {
    for (std::size_t i = threadIdx.x / kWarpSize; i < chunk.rows; i += kWarps) {
      const double coefficient = coefficients[i * chunk.count + j];
      projection += coefficient * chunk.cosines[i * chunk.count + j];
      count += coefficient != 0 ? 1 : 0;
    }
  }
  projections[threadIdx.x] = projection;
  counts[threadIdx.x] = count;
  __syncthreads();
  if (threadIdx.x >= kWarpSize || j >= chunk.count) return;
  for (unsigned warp = 1; warp < kWarps; ++warp) {
    projection += projections[warp * kWarpSize + lane];
    count += counts[warp * kWarpSize + lane];
  }
  class_projections[j] = projection;
  touched[j] = count > 0 ? 1 : 0;
}

// The segment of an identity among the sorted pairs, or their number.
__device__ std::size_t find_segment(const PairArrays& pairs, std::size_t identity) {
  const std::size_t segments = *pairs.segments;
  std::size_t low = 0;
  std::size_t high = segments;
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (pairs.identities[pairs.starts[middle]] < identity) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < segments && pairs.identities[pairs.starts[low]] == identity ? low : segments;
}

// A block takes one class at a time. `product` [count, D] is Σ g x̂ of the dense rows; sparse rows,
// and the targets of all rows, add theirs from the segment. `gradients` as in sparse_backward.cu.
__global__ void __launch_bounds__(kChunkThreads)
    update_chunk_kernel(PrototypeArrays prototypes, BatchArrays batch, SupportArrays supports,
                        const RowState* rows, PairArrays pairs, GradientFactors factors,
                        DeviceOptimizer optimizer, std::size_t begin, std::size_t count,
                        const float* product, const double* class_projections,
                        const std::uint8_t* touched, double* gradients, std::uint32_t* updated) {
  ALPHAMARGIN_DYNAMIC_SHARED(double, shared_gradient);
  double* sums = gradients == nullptr ? shared_gradient : gradients + blockIdx.x * prototypes.dim;
  const std::size_t segments = *pairs.segments;
  for (std::size_t j = blockIdx.x; j < count; j += gridDim.x) {
    const std::size_t identity = begin + j;
    const std::size_t segment = find_segment(pairs, identity);
    if (segment == segments && touched[j] == 0) continue;
    for (std::size_t k = threadIdx.x; k < prototypes.dim; k += blockDim.x) {
      sums[k] = product[j * prototypes.dim + k];
    }
    double projection = class_projections[j];
    if (segment < segments) {
      projection += add_segment(pairs, segment, supports, rows, batch, factors, sums);
    }
    update_row(prototypes, optimizer, identity, sums, projection);
    if (threadIdx.x == 0) atomicAdd(updated, 1u);
  }
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
  MemoryAccount& scratch = call.scratch;
  const std::size_t rows = dense_rows.size();
  const std::size_t dim = call.batch.dim;
  const std::size_t identities = call.prototypes.identities;
  const bool updates = optimizer != nullptr;
  const std::size_t gradient_bytes = dim * sizeof(double);
  const bool in_shared = gradient_bytes <= kSharedGradientBytes;

  DenseChunks chunks(call, dense_rows);
  const std::size_t chunk_classes = chunks.most_classes();
  const unsigned blocks = blocks_for(chunk_classes, 1, in_shared ? chunk_classes : kSumBlocks);
  DeviceBuffer<float> coefficients(context, scratch, rows * chunk_classes);
  DeviceBuffer<double> projections(context, scratch, rows);
  DeviceBuffer<double> sums(context, scratch, rows * dim);
  DeviceBuffer<double> class_projections(context, scratch, chunk_classes);
  DeviceBuffer<std::uint8_t> flags(context, scratch, chunk_classes);
  DeviceBuffer<float> product(context, scratch, updates ? chunk_classes * dim : 0);
  DeviceBuffer<double> gradients(context, scratch, updates && !in_shared ? blocks * dim : 0);
  DeviceBuffer<std::uint32_t> updated(context, scratch, 1);
  chunks.products().reserve_gradients(grad_embeddings != nullptr, updates);
  updated.fill_bytes(0);

  const GradientFactors factors = GradientFactors::of(call.loss, call.counted, identities);
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
    if (!updates) continue;
    launch(context, "class_projection_kernel", &class_projection_kernel,
           {blocks_for(chunk.count, kWarpSize), kProjectionThreads}, chunk, coefficients.data(),
           class_projections.data(), flags.data());
    chunks.products().class_gradients(coefficients.data(), product.data());
    launch(context, "update_chunk_kernel", &update_chunk_kernel,
           {blocks, kChunkThreads, in_shared ? gradient_bytes : 0}, call.prototypes, call.batch,
           supports.arrays(), call.rows, PairArrays::of(pairs), factors,
           DeviceOptimizer::of(*optimizer), begin, chunk.count, product.data(),
           class_projections.data(), flags.data(), gradients.data(), updated.data());
  }
  if (grad_embeddings != nullptr) {
    launch(context, "dense_embedding_gradient_kernel", &dense_embedding_gradient_kernel, per_row,
           call.batch, chunks.indices(), sums.data(), projections.data(), grad_embeddings);
  }
  updated.download(&touched);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
