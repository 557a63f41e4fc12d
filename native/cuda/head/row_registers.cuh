#pragma once
// update_row.cuh for a prototype that fits the registers of a block: the same operations in the
// same order, so the same bits, but everything is loaded before anything is waited for. One segment
// has little work and a chain of dependent loads; what such a kernel takes is latency.
//
// Shapes: row and momentum row [D], D ≤ kColumns · block size; element k by thread k mod block
// size.

#include "cuda/head/update_row.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

template <unsigned kColumns>
class RowRegisters {
 public:
  // Called by all threads of a block, like the other functions.
  __device__ RowRegisters(const PrototypeArrays& prototypes, const DeviceOptimizer& optimizer,
                          std::size_t identity)
      : prototypes_(prototypes), optimizer_(optimizer), identity_(identity) {
    const PrototypeRow row(prototypes, identity);
    const float* velocity =
        has_velocity() ? prototypes.momentum + identity * prototypes.dim : nullptr;
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) {
      const std::size_t k = threadIdx.x + c * blockDim.x;
      row_[c] = k < prototypes.dim ? row[k] : 0.0f;
      velocity_[c] = velocity != nullptr && k < prototypes.dim ? velocity[k] : 0.0f;
      sums_[c] = 0;
    }
    norm_ = prototypes.norms[identity];
  }

  // Σ g x̂ of some pairs: unit rows [D] at `places`.
  __device__ void add(const float* unit, std::size_t count, const double* coefficients,
                      const std::size_t* places) {
    std::size_t i = 0;
    for (; i + kPairsAtOnce <= count; i += kPairsAtOnce) {
      add_pairs<kPairsAtOnce>(unit, coefficients + i, places + i);
    }
    for (; i < count; ++i) add_pairs<1>(unit, coefficients + i, places + i);
  }

  // The update with projection = Σ g c, ‖w‖ and the shadow row; `fresh` [D] is shared memory.
  __device__ void finish(double projection, float* fresh) {
    const double inverse = 1 / norm_;
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) {
      sums_[c] = (sums_[c] - projection * row_[c] * inverse) * inverse;
      sums_[c] += optimizer_.weight_decay * row_[c];
    }
    if (optimizer_.is_adagrad != 0) {
      step_by_adagrad();
    } else {
      step_by_descent();
    }
    const PrototypeRow row(prototypes_, identity_);
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) {
      const std::size_t k = threadIdx.x + c * blockDim.x;
      if (k >= prototypes_.dim) continue;
      row.set(k, row_[c]);
      fresh[k] = row_[c];
    }
    const double norm = block_norm(fresh, prototypes_.dim);
    if (threadIdx.x == 0) prototypes_.norms[identity_] = norm;
    write_shadow_row(prototypes_, identity_, fresh, norm);
  }

 private:
  // A class in the support of every row has as many pairs as there are rows.
  static constexpr unsigned kPairsAtOnce = 4;

  template <unsigned kPairs>
  __device__ __forceinline__ void add_pairs(const float* unit, const double* coefficients,
                                            const std::size_t* places) {
    float values[kPairs][kColumns];
#pragma unroll
    for (unsigned i = 0; i < kPairs; ++i) {
#pragma unroll
      for (unsigned c = 0; c < kColumns; ++c) {
        const std::size_t k = threadIdx.x + c * blockDim.x;
        values[i][c] = k < prototypes_.dim ? unit[places[i] + k] : 0.0f;
      }
    }
#pragma unroll
    for (unsigned i = 0; i < kPairs; ++i) {
#pragma unroll
      for (unsigned c = 0; c < kColumns; ++c) {
        sums_[c] += coefficients[i] * static_cast<double>(values[i][c]);
      }
    }
  }

  __device__ bool has_velocity() const {
    return optimizer_.is_adagrad == 0 && optimizer_.momentum > 0;
  }

  __device__ void step_by_descent() {
    const auto rate = static_cast<float>(optimizer_.learning_rate);
    const auto momentum = static_cast<float>(optimizer_.momentum);
    float* velocity = has_velocity() ? prototypes_.momentum + identity_ * prototypes_.dim : nullptr;
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) {
      const std::size_t k = threadIdx.x + c * blockDim.x;
      auto change = static_cast<float>(sums_[c]);
      if (velocity != nullptr) {
        change = momentum * velocity_[c] + change;
        if (k < prototypes_.dim) velocity[k] = change;
      }
      row_[c] -= rate * change;
    }
  }

  __device__ void step_by_adagrad() {
    double squares = 0;
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) squares += sums_[c] * sums_[c];
    const double before = prototypes_.accumulator[identity_];
    // Its barriers also part the readers of the accumulator from its writer.
    squares = block_sum(squares);
    const double sum = before + squares / static_cast<double>(prototypes_.dim);
    if (threadIdx.x == 0) prototypes_.accumulator[identity_] = static_cast<float>(sum);
    const double rate = optimizer_.adagrad_rate(sum);
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) {
      row_[c] = static_cast<float>(row_[c] - rate * sums_[c]);
    }
  }

  const PrototypeArrays& prototypes_;
  const DeviceOptimizer& optimizer_;
  std::size_t identity_;
  double norm_;
  float row_[kColumns];
  float velocity_[kColumns];
  double sums_[kColumns];
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
