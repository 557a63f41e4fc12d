#pragma once
// One prototype's update by one block, used by the sparse and the dense backward pass:
//
//   ∂w = (Σ g x̂ − (Σ g c) ŵ)/‖w‖, then the optimiser's rule (head/prototype_state.cc), ‖w‖, shadow
//
// Shapes: row [D], momentum row [D], accumulator one value. Element k belongs to the thread
// k mod block size throughout, so that only sums over k need barriers.
// Accumulation: float64; ‖w‖ in the CPU's order of summation, Adagrad's Σ g² in that of block_sum.
// Traffic: row (and momentum row) read and written once, the norm's second reading hits the cache.

#include "cuda/block_reduce.cuh"
#include "cuda/head/exact_dot.cuh"
#include "cuda/head/shadow.cuh"
#include "head/optimizer.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// The optimiser as kernels need it.
struct DeviceOptimizer {
  double learning_rate;
  double momentum;
  double weight_decay;
  double epsilon;
  double initial_accumulator;
  std::int64_t is_adagrad;

  static DeviceOptimizer of(const Optimizer& optimizer) {
    return {optimizer.learning_rate,       optimizer.momentum,
            optimizer.weight_decay,        optimizer.epsilon,
            optimizer.initial_accumulator, optimizer.kind == OptimizerKind::kAdagrad};
  }
  __device__ double adagrad_rate(double accumulator) const {
    return learning_rate / (sqrt(initial_accumulator + accumulator) + epsilon);
  }
};

__device__ inline void apply_optimizer(const PrototypeArrays& prototypes,
                                       const DeviceOptimizer& optimizer, std::size_t identity,
                                       const double* gradient) {
  const std::size_t dim = prototypes.dim;
  const PrototypeRow row(prototypes, identity);
  if (optimizer.is_adagrad != 0) {
    double squares = 0;
    for (std::size_t k = threadIdx.x; k < dim; k += blockDim.x) {
      const double g = gradient[k] + optimizer.weight_decay * row[k];
      squares += g * g;
    }
    const double before = prototypes.accumulator[identity];
    // Its barriers also part the readers of the accumulator from its writer.
    squares = block_sum(squares);
    const double sum = before + squares / static_cast<double>(dim);
    if (threadIdx.x == 0) prototypes.accumulator[identity] = static_cast<float>(sum);
    const double rate = optimizer.adagrad_rate(sum);
    for (std::size_t k = threadIdx.x; k < dim; k += blockDim.x) {
      const double g = gradient[k] + optimizer.weight_decay * row[k];
      row.set(k, static_cast<float>(row[k] - rate * g));
    }
    return;
  }
  // float32 from the gradient on, like the CPU.
  const auto rate = static_cast<float>(optimizer.learning_rate);
  const auto momentum = static_cast<float>(optimizer.momentum);
  float* velocity = optimizer.momentum > 0 ? prototypes.momentum + identity * dim : nullptr;
  for (std::size_t k = threadIdx.x; k < dim; k += blockDim.x) {
    auto change = static_cast<float>(gradient[k] + optimizer.weight_decay * row[k]);
    if (velocity != nullptr) {
      change = momentum * velocity[k] + change;
      velocity[k] = change;
    }
    row.set(k, row[k] - rate * change);
  }
}

// The norm and the shadow row of a prototype that the block has just written.
__device__ inline void refresh_row(const PrototypeArrays& prototypes, std::size_t identity) {
  const PrototypeRow row(prototypes, identity);
  const double norm = block_norm(row, prototypes.dim);
  if (threadIdx.x == 0) prototypes.norms[identity] = norm;
  write_shadow_row<BlockGroup>(prototypes, identity, row, norm);
}

// Called by all threads of a block. `sums` [D] holds Σ g x̂, element k written by its own thread (or
// before a barrier), and is overwritten; `projection` = Σ g c, the same in all threads.
__device__ inline void update_row(const PrototypeArrays& prototypes,
                                  const DeviceOptimizer& optimizer, std::size_t identity,
                                  double* sums, double projection) {
  const PrototypeRow row(prototypes, identity);
  const double inverse = 1 / prototypes.norms[identity];
  for (std::size_t k = threadIdx.x; k < prototypes.dim; k += blockDim.x) {
    sums[k] = (sums[k] - projection * row[k] * inverse) * inverse;
  }
  apply_optimizer(prototypes, optimizer, identity, sums);
  refresh_row(prototypes, identity);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
