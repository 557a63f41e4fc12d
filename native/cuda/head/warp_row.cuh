#pragma once
// update_row.cuh for a prototype that fits the registers of a warp: everything is loaded before
// anything is waited for, and no warp waits for another. One segment has little work and a chain of
// dependent loads; what such a kernel takes is latency and instructions, so many segments must be
// under way, and lanes read four elements at a time where rows are that wide.
//
// Shapes: row and momentum row [D], D ≤ 32 · Shape::kColumns.
// Accumulation: float64, or float32 where math/slope_in_single.h lets it; both in the CPU's order,
// so that the same terms give the same bits (Adagrad's Σ g² excepted).

#include "cuda/head/class_gradient.cuh"
#include "cuda/head/row_shape.cuh"
#include "cuda/head/update_row.cuh"
#include "math/slope_in_single.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

template <class Shape>
class WarpRow {
 public:
  static constexpr unsigned kColumns = Shape::kColumns;

  // Called by all lanes of a warp, like the other functions.
  __device__ WarpRow(const PrototypeArrays& prototypes, const DeviceOptimizer& optimizer,
                     std::size_t identity)
      : prototypes_(prototypes), optimizer_(optimizer), identity_(identity) {
    const float* const velocity = this->velocity();
    Shape::load(PrototypeRow(prototypes, identity), prototypes.dim, row_);
    norm_ = prototypes.norms[identity];
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) velocity_[c] = 0;
    if (velocity != nullptr) Shape::load(velocity, prototypes.dim, velocity_);
  }

  // Σ g x̂ of pairs, on the way.
  using Sums = double[kColumns];

  // A sum [D] that is there before any pairs are added; nullptr: zero.
  __device__ void begin(const float* gradient, Sums& sums) const {
    float values[kColumns] = {};
    if (gradient != nullptr) Shape::load(gradient, prototypes_.dim, values);
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) sums[c] = values[c];
  }

  // Up to 32 pairs more: unit rows [D] at `place`, each lane with those of one pair.
  __device__ void add(const float* unit, unsigned count, double coefficient, std::size_t place,
                      Sums& sums) const {
    add_pairs(prototypes_, unit, count, coefficient, place, sums);
  }

  // The step with all pairs in the sums, and projection = Σ g c.
  __device__ void step(double projection, Sums& sums) {
    const double inverse = 1 / norm_;
    const double along = projection * inverse;
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) {
      sums[c] = (sums[c] - along * row_[c]) * inverse + optimizer_.weight_decay * row_[c];
    }
    if (optimizer_.is_adagrad != 0) {
      step_by_adagrad(sums);
      return;
    }
    float slope[kColumns];
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) slope[c] = static_cast<float>(sums[c]);
    descend(slope);
  }

  // The whole step of a segment of up to kMostSinglePairs pairs, each lane with one of them, in
  // float32; false, and nothing done, where that may not be.
  __device__ bool step_in_single(const float* unit, unsigned count, const PairTerm& term) {
    if (optimizer_.is_adagrad != 0) return false;
    const double inverse = 1 / norm_;
    const double product = term.coefficient * term.cosine;
    double projection = 0;
    double sizes = 0;
    for (unsigned i = 0; i < count; ++i) {
      projection += __shfl_sync(kFullMask, product, static_cast<int>(i));
      sizes += fabs(__shfl_sync(kFullMask, term.coefficient, static_cast<int>(i)));
    }
    const double own = optimizer_.weight_decay - projection * inverse * inverse;
    const double factor = term.coefficient * inverse;
    const bool serves = fits(own) && fits(factor) && fabs(projection) <= kMostAligned * sizes;
    if (!__all_sync(kFullMask, serves)) return false;
    float slope[kColumns];
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) slope[c] = static_cast<float>(own) * row_[c];
    add_pairs(prototypes_, unit, count, static_cast<float>(factor), term.place, slope);
    descend(slope);
    return true;
  }

  // What a step has made of the row, its norm and the shadow row; `fresh` [D] is shared memory of
  // the warp.
  __device__ void store(float* fresh) {
    Shape::store(PrototypeRow(prototypes_, identity_), prototypes_.dim, row_);
    Shape::store(fresh, prototypes_.dim, row_);
    __syncwarp();
    // Each half of the warp finds the same.
    const double norm = sqrt(exact_dot(fresh, fresh, prototypes_.dim));
    if (WarpGroup::rank() == 0) prototypes_.norms[identity_] = norm;
    if (Shape::kIsWhole && prototypes_.format() == ShadowFormat::kHalf) {
      store_half_shadow(1 / norm);
    } else {
      write_shadow_row<WarpGroup>(prototypes_, identity_, fresh, norm);
    }
    __syncwarp();  // the next row may take its place
  }

 private:
  // Sixteen elements of a lane under way: a class in the support of every row has as many pairs as
  // there are rows.
  static constexpr unsigned kPairsAtOnce = kColumns < 16 ? 16 / kColumns : 1;

  template <class Sum>
  static __device__ __forceinline__ void add_pairs(const PrototypeArrays& prototypes,
                                                   const float* unit, unsigned count,
                                                   Sum coefficient, std::size_t place,
                                                   Sum (&sums)[kColumns]) {
    unsigned i = 0;
    for (; i + kPairsAtOnce <= count; i += kPairsAtOnce) {
      add_some<kPairsAtOnce>(prototypes, unit, coefficient, place, i, sums);
    }
    for (; i < count; ++i) add_some<1>(prototypes, unit, coefficient, place, i, sums);
  }
  template <unsigned kPairs, class Sum>
  static __device__ __forceinline__ void add_some(const PrototypeArrays& prototypes,
                                                  const float* unit, Sum coefficient,
                                                  std::size_t place, unsigned first,
                                                  Sum (&sums)[kColumns]) {
    float values[kPairs][kColumns];
    Sum coefficients[kPairs];
#pragma unroll
    for (unsigned i = 0; i < kPairs; ++i) {
      const auto lane = static_cast<int>(first + i);
      coefficients[i] = __shfl_sync(kFullMask, coefficient, lane);
      Shape::load(unit + __shfl_sync(kFullMask, place, lane), prototypes.dim, values[i]);
    }
#pragma unroll
    for (unsigned i = 0; i < kPairs; ++i) {
#pragma unroll
      for (unsigned c = 0; c < kColumns; ++c) {
        sums[c] += coefficients[i] * static_cast<Sum>(values[i][c]);
      }
    }
  }

  static __device__ bool fits(double factor) {
    const double size = fabs(factor);
    return factor == 0 || (size > kLeastSingleFactor && size < kMostSingleFactor);
  }

  __device__ float* velocity() const {
    const bool is_there = optimizer_.is_adagrad == 0 && optimizer_.momentum > 0;
    return is_there ? prototypes_.momentum + identity_ * prototypes_.dim : nullptr;
  }

  // float32 from the slope on, like the CPU.
  __device__ void descend(float (&slope)[kColumns]) {
    const auto rate = static_cast<float>(optimizer_.learning_rate);
    const auto momentum = static_cast<float>(optimizer_.momentum);
    float* const velocity = this->velocity();
    if (velocity != nullptr) {
#pragma unroll
      for (unsigned c = 0; c < kColumns; ++c) slope[c] = momentum * velocity_[c] + slope[c];
      Shape::store(velocity, prototypes_.dim, slope);
    }
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) row_[c] -= rate * slope[c];
  }

  __device__ void step_by_adagrad(const Sums& gradient) {
    double squares = 0;
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) squares += gradient[c] * gradient[c];
    squares = WarpGroup::sum(squares);
    const double before = prototypes_.accumulator[identity_];
    __syncwarp();  // read by all lanes before the first one writes
    const double sum = before + squares / static_cast<double>(prototypes_.dim);
    if (WarpGroup::rank() == 0) prototypes_.accumulator[identity_] = static_cast<float>(sum);
    const double rate = optimizer_.adagrad_rate(sum);
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) {
      row_[c] = static_cast<float>(row_[c] - rate * gradient[c]);
    }
  }

  // write_shadow_row of a whole row, from registers.
  __device__ void store_half_shadow(double inverse) {
    __half halves[kColumns];
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) {
      halves[c] = __float2half_rn(static_cast<float>(row_[c] * inverse));
    }
    Shape::store(prototypes_.shadow + identity_ * prototypes_.shadow_dim, prototypes_.dim, halves);
  }

  const PrototypeArrays& prototypes_;
  const DeviceOptimizer& optimizer_;
  std::size_t identity_;
  double norm_;
  float row_[kColumns];
  float velocity_[kColumns];
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
