#pragma once
// What the tensor-core filters compare with: a row's bound, and where rounding is measured for
// every class (int8, upper halves) a coarse bound for all classes of a tile before the fine one.
//
//   u = s_x s_w a·b + f ρ > bound

#include "cuda/head/filter.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// What a filter knows of a row.
struct RowLimit {
  float bound;
  std::int32_t label;  // its first prototype
  float scale;         // s_x of the embedding
  float factor;        // f of the classes' residuals
};

// Of rows beyond the batch nothing survives.
template <class Operands>
__device__ RowLimit row_limit(const PrototypeArrays& prototypes, const BatchArrays& batch,
                              const CandidateArrays& candidates, std::size_t row) {
  RowLimit limit{INFINITY, 0, 0, 0};
  if (row >= batch.rows) return limit;
  limit.bound = seen_bound(candidates.bounds + row);
  limit.label = first_of_label(prototypes, candidates, row);
  if constexpr (Operands::kMeasured) {
    limit.scale = batch.scales[row];
    limit.factor = batch.factors[row];
  }
  return limit;
}

// u of a class, as a candidate is listed with.
template <class Sum>
__device__ __forceinline__ float listed_cosine(const RowLimit& limit,
                                               const PrototypeArrays& prototypes,
                                               std::size_t identity, Sum product) {
  return static_cast<float>(product) * limit.scale * prototypes.scales[identity] +
         limit.factor * prototypes.residuals[identity];
}

struct ClassRounding {
  float scale;
  float residual;
};

// The largest of `count` classes from `first` on (before `end`). Called by all lanes of a warp.
__device__ __forceinline__ ClassRounding largest_rounding(const PrototypeArrays& prototypes,
                                                          std::size_t first, unsigned count,
                                                          std::size_t end) {
  ClassRounding largest{0, 0};
  for (unsigned i = threadIdx.x % kWarpSize; i < count; i += kWarpSize) {
    const std::size_t identity = min(first + i, end - 1);
    largest.scale = max(largest.scale, prototypes.scales[identity]);
    largest.residual = max(largest.residual, prototypes.residuals[identity]);
  }
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) {
    largest.scale = max(largest.scale, __shfl_xor_sync(kFullMask, largest.scale, lanes));
    largest.residual = max(largest.residual, __shfl_xor_sync(kFullMask, largest.residual, lanes));
  }
  return largest;
}

// What the product a·b of a surviving class is above, given the largest scale and residual of the
// classes. Rounded down; a whole number for int8.
__device__ __forceinline__ float coarse_limit(const RowLimit& limit, const ClassRounding& largest,
                                              float) {
  const float rest = limit.bound - limit.factor * largest.residual * (1 + 0x1p-20f);
  if (!(rest > 0)) return -INFINITY;
  return rest / (limit.scale * largest.scale) * (1 - 0x1p-20f);
}
__device__ __forceinline__ std::int32_t coarse_limit(const RowLimit& limit,
                                                     const ClassRounding& largest, std::int32_t) {
  constexpr float kMost = 2147483520.0f;  // the last float below 2^31
  const float steps = coarse_limit(limit, largest, float{}) - 1;
  if (steps == -INFINITY) return -0x7fffffff - 1;
  return steps < kMost ? static_cast<std::int32_t>(floorf(steps)) : 0x7fffffff;
}

// visit(i, value) for those of a thread's `kCount` products that `passes` admits, one by one: a
// mask first, so that registers need no index.
template <unsigned kCount, class ValueAt, class Passes, class Visit>
__device__ __forceinline__ void visit_passing(const ValueAt& value_at, const Passes& passes,
                                              const Visit& visit) {
  constexpr unsigned kMask = 32;
#pragma unroll
  for (unsigned base = 0; base < kCount; base += kMask) {
    constexpr unsigned kHere = kCount < kMask ? kCount : kMask;
    unsigned mask = 0;
#pragma unroll
    for (unsigned i = 0; i < kHere; ++i) {
      mask |= static_cast<unsigned>(passes(value_at(base + i))) << i;
    }
    while (mask != 0) {
      const auto chosen = static_cast<unsigned>(__ffs(static_cast<int>(mask)) - 1);
      mask &= mask - 1;
      auto value = value_at(base);
#pragma unroll
      for (unsigned i = 1; i < kHere; ++i) {
        if (i == chosen) value = value_at(base + i);
      }
      visit(base + chosen, value);
    }
  }
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
