#pragma once
// update_row.cuh for a prototype that fits the registers of a warp: everything is loaded before
// anything is waited for, and no warp waits for another. One segment has little work and a chain of
// dependent loads; what such a kernel takes is latency, so many segments must be under way.
//
// Shapes: row and momentum row [D], D ≤ 32 · kColumns; element k by lane k mod 32.

#include <type_traits>

#include "cuda/head/update_row.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// Of the widest row that a warp updates.
inline constexpr unsigned kMostRowColumns = 16;

// body(columns) with the least kColumns for rows of that width.
template <class Body>
void with_row_columns(std::size_t dim, const Body& body) {
  const std::size_t columns = (dim + kWarpSize - 1) / kWarpSize;
  if (columns <= 4) return body(std::integral_constant<unsigned, 4>{});
  if (columns <= 8) return body(std::integral_constant<unsigned, 8>{});
  return body(std::integral_constant<unsigned, kMostRowColumns>{});
}

template <unsigned kColumns>
class WarpRow {
 public:
  // Called by all lanes of a warp, like the other functions.
  __device__ WarpRow(const PrototypeArrays& prototypes, const DeviceOptimizer& optimizer,
                     std::size_t identity)
      : prototypes_(prototypes), optimizer_(optimizer), identity_(identity) {
    const PrototypeRow row(prototypes, identity);
    const float* velocity =
        has_velocity() ? prototypes.momentum + identity * prototypes.dim : nullptr;
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) {
      const std::size_t k = element(c);
      row_[c] = k < prototypes.dim ? row[k] : 0.0f;
      velocity_[c] = velocity != nullptr && k < prototypes.dim ? velocity[k] : 0.0f;
      sums_[c] = 0;
    }
    norm_ = prototypes.norms[identity];
  }

  // A sum [D] that is there before any pairs are added.
  __device__ void begin_with(const float* gradient) {
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) {
      const std::size_t k = element(c);
      sums_[c] = k < prototypes_.dim ? gradient[k] : 0.0f;
    }
  }

  // Σ g x̂ of up to 32 pairs: unit rows [D] at `place`, each lane with those of one pair.
  __device__ void add(const float* unit, unsigned count, double coefficient, std::size_t place) {
    unsigned i = 0;
    for (; i + kPairsAtOnce <= count; i += kPairsAtOnce) {
      add_pairs<kPairsAtOnce>(unit, coefficient, place, i);
    }
    for (; i < count; ++i) add_pairs<1>(unit, coefficient, place, i);
  }

  // The update with projection = Σ g c, ‖w‖ and the shadow row; `fresh` [D] is shared memory of the
  // warp.
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
      const std::size_t k = element(c);
      if (k >= prototypes_.dim) continue;
      row.set(k, row_[c]);
      fresh[k] = row_[c];
    }
    __syncwarp();
    // Each half of the warp finds the same.
    const double norm = sqrt(exact_dot(fresh, fresh, prototypes_.dim));
    if (WarpGroup::rank() == 0) prototypes_.norms[identity_] = norm;
    write_shadow_row<WarpGroup>(prototypes_, identity_, fresh, norm);
    __syncwarp();  // the next row may take its place
  }

 private:
  // Sixteen loads of a lane under way: a class in the support of every row has as many pairs as
  // there are rows.
  static constexpr unsigned kPairsAtOnce = 16 / kColumns;

  static __device__ std::size_t element(unsigned column) {
    return WarpGroup::rank() + std::size_t{column} * kWarpSize;
  }

  template <unsigned kPairs>
  __device__ __forceinline__ void add_pairs(const float* unit, double coefficient,
                                            std::size_t place, unsigned first) {
    float values[kPairs][kColumns];
    double coefficients[kPairs];
#pragma unroll
    for (unsigned i = 0; i < kPairs; ++i) {
      const auto lane = static_cast<int>(first + i);
      const float* embedding = unit + __shfl_sync(kFullMask, place, lane);
      coefficients[i] = __shfl_sync(kFullMask, coefficient, lane);
#pragma unroll
      for (unsigned c = 0; c < kColumns; ++c) {
        const std::size_t k = element(c);
        values[i][c] = k < prototypes_.dim ? embedding[k] : 0.0f;
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
      auto change = static_cast<float>(sums_[c]);
      if (velocity != nullptr) {
        change = momentum * velocity_[c] + change;
        if (element(c) < prototypes_.dim) velocity[element(c)] = change;
      }
      row_[c] -= rate * change;
    }
  }

  __device__ void step_by_adagrad() {
    double squares = 0;
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) squares += sums_[c] * sums_[c];
    squares = WarpGroup::sum(squares);
    const double before = prototypes_.accumulator[identity_];
    __syncwarp();  // read by all lanes before the first one writes
    const double sum = before + squares / static_cast<double>(prototypes_.dim);
    if (WarpGroup::rank() == 0) prototypes_.accumulator[identity_] = static_cast<float>(sum);
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
