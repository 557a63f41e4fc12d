// The backward pass over supports: ∂embeddings by gathering the support of a row, ∂prototypes by
// sorting the (row, class) pairs by class and reducing each segment, then the optimiser's rule.
//
//   ∂x_i = (Σ_j g_ij ŵ_j − (Σ_j g_ij c_ij) x̂_i)/‖x_i‖
//   ∂w_j = (Σ_i g_ij x̂_i − (Σ_i g_ij c_ij) ŵ_j)/‖w_j‖
//
// Shapes: pairs [Σ support]; one block per (row, 512 columns of D), a warp or a block per segment.
// Accumulation: float64, classes and rows ascending, the target of a row last; ∂w of few rows in
// float32 (math/slope_in_single.h). Both have the CPU's order, so equal posteriors give equal bits,
// ∂w where a warp has the whole row. No atomics.
// Traffic: O(Σ support · D): a prototype row once per row it supports, a unit embedding (in L2)
// once per pair; the update reads and writes a touched prototype once.

#include <algorithm>
#include <bit>

#include "cuda/head/class_gradient.cuh"
#include "cuda/head/warp_row.cuh"
#include "cuda/launch.h"
#include "cuda/primitives.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 128;
constexpr unsigned kThreadColumns = 4;
constexpr std::size_t kTileColumns = kThreads * kThreadColumns;
constexpr unsigned kTermsAtOnce = 4;
// Gradients of longer prototypes lie in global memory (beside the kernel's own shared arrays).
constexpr std::size_t kSharedGradientBytes = 40 * 1024;
constexpr std::size_t kGlobalGradientBytes = std::size_t{32} << 20;
// Enough that the last of them to run are few beside all.
constexpr std::size_t kUpdateBlocks = 32768;

__global__ void count_pairs_kernel(const RowState* rows, const std::uint32_t* counts,
                                   std::size_t batch, std::uint64_t* pair_counts) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row < batch) pair_counts[row] = rows[row].pull != 0 ? counts[row] + std::uint64_t{1} : 0;
}

__global__ void fill_pairs_kernel(const RowState* rows, SupportArrays supports,
                                  const std::uint64_t* pair_offsets, std::uint32_t* identities,
                                  std::uint64_t* sources) {
  const std::size_t row = blockIdx.x;
  if (!(rows[row].pull != 0)) return;
  const std::uint64_t high = static_cast<std::uint64_t>(row) << 32;
  const std::size_t first = pair_offsets[row];
  const std::uint32_t count = supports.counts[row];
  for (std::uint32_t slot = threadIdx.x; slot < count; slot += blockDim.x) {
    identities[first + slot] =
        static_cast<std::uint32_t>(supports.identities[supports.offsets[row] + slot]);
    sources[first + slot] = high | slot;
  }
  if (threadIdx.x == 0) {
    identities[first + count] = static_cast<std::uint32_t>(rows[row].label_row);
    sources[first + count] = high | kTargetSlot;
  }
}

__global__ void flag_starts_kernel(const std::uint32_t* identities, std::size_t pairs,
                                   std::uint8_t* flags) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < pairs; i += stride) {
    flags[i] = i == 0 || identities[i] != identities[i - 1] ? 1 : 0;
  }
}

// Block (row, tile of columns).
__global__ void embedding_gradient_kernel(PrototypeArrays prototypes, BatchArrays batch,
                                          SupportArrays supports, const RowState* rows,
                                          GradientFactors factors, float* grad_embeddings) {
  ALPHAMARGIN_SHARED(double, weights, kThreads);
  ALPHAMARGIN_SHARED(double, products, kThreads);
  ALPHAMARGIN_SHARED(std::size_t, identities, kThreads);
  const std::size_t row = blockIdx.x;
  const RowState& state = rows[row];
  if (state.dense != 0) return;
  const std::size_t dim = batch.dim;
  const std::size_t column = blockIdx.y * kTileColumns + threadIdx.x;
  const std::size_t entries = supports.counts[row];
  // Rows at zero loss have no terms.
  const std::size_t terms = state.pull != 0 ? entries + 1 : 0;
  double sums[kThreadColumns] = {};
  double projection = 0;
  for (std::size_t first = 0; first < terms; first += kThreads) {
    __syncthreads();  // the last chunk's values have been read
    const std::size_t term = first + threadIdx.x;
    if (term < terms) {
      const std::size_t entry = supports.offsets[row] + term;
      const bool is_entry = term < entries;
      const auto identity =
          static_cast<std::size_t>(is_entry ? supports.identities[entry] : state.label_row);
      const double coefficient = is_entry ? factors.entry * supports.posteriors[entry]
                                          : target_coefficient(factors, state);
      weights[threadIdx.x] = coefficient / prototypes.norms[identity];
      products[threadIdx.x] =
          coefficient * (is_entry ? supports.cosines[entry] : state.label_cosine);
      identities[threadIdx.x] = identity;
    }
    __syncthreads();
    const std::size_t count = min(std::size_t{kThreads}, terms - first);
    // Loads of several terms before the first sum: one after the other they would take the latency
    // of memory each.
    const auto add_terms = [&]<unsigned kTerms>(std::size_t i) {
      float values[kTerms][kThreadColumns];
#pragma unroll
      for (unsigned t = 0; t < kTerms; ++t) {
        const PrototypeRow prototype(prototypes, identities[i + t]);
#pragma unroll
        for (unsigned c = 0; c < kThreadColumns; ++c) {
          const std::size_t k = column + c * kThreads;
          values[t][c] = k < dim ? prototype[k] : 0.0f;
        }
      }
#pragma unroll
      for (unsigned t = 0; t < kTerms; ++t) {
        projection += products[i + t];
#pragma unroll
        for (unsigned c = 0; c < kThreadColumns; ++c) {
          sums[c] += weights[i + t] * static_cast<double>(values[t][c]);
        }
      }
    };
    std::size_t i = 0;
    for (; i + kTermsAtOnce <= count; i += kTermsAtOnce) {
      add_terms.template operator()<kTermsAtOnce>(i);
    }
    for (; i < count; ++i) add_terms.template operator()<1>(i);
  }
  const double inverse = 1 / batch.norms[row];
  for (unsigned c = 0; c < kThreadColumns; ++c) {
    const std::size_t k = column + c * kThreads;
    if (k >= dim) continue;
    const std::size_t place = row * dim + k;
    // A row without terms may be one that is not to be read.
    grad_embeddings[place] =
        terms == 0
            ? 0.0f
            : static_cast<float>((sums[c] - projection * batch.values[place] * inverse) * inverse);
  }
}

// A warp takes one segment at a time; D ≤ 32 · Shape::kColumns. Registers for 16 or 20 of them a
// multiprocessor, without spilling.
template <class Shape>
__global__ void __launch_bounds__(kThreads, Shape::kColumns > 8 ? 4 : 5)
    update_narrow_segments_kernel(PrototypeArrays prototypes, BatchArrays batch,
                                  SupportArrays supports, const RowState* rows, PairArrays pairs,
                                  GradientFactors factors, DeviceOptimizer optimizer) {
  constexpr unsigned kWarps = kThreads / kWarpSize;
  ALPHAMARGIN_SHARED(float, fresh, kThreads* Shape::kColumns);
  const unsigned warp = threadIdx.x / kWarpSize;
  const unsigned lane = threadIdx.x % kWarpSize;
  const std::size_t segments = *pairs.segments;
  for (std::size_t segment = std::size_t{blockIdx.x} * kWarps + warp; segment < segments;
       segment += std::size_t{gridDim.x} * kWarps) {
    const std::size_t first = pairs.starts[segment];
    const std::size_t count = end_of_segment(pairs, segment) - first;
    WarpRow<Shape> row(prototypes, optimizer, pairs.identities[first]);
    bool is_done = false;
    if (count <= kMostSinglePairs) {
      PairTerm term;
      if (lane < count) {
        term = PairTerm::of(pairs.sources[first + lane], supports, rows, batch, factors);
      }
      is_done = row.step_in_single(batch.unit, static_cast<unsigned>(count), term);
    }
    if (!is_done) {
      typename WarpRow<Shape>::Sums sums;
      row.begin(nullptr, sums);
      const double projection =
          for_segment_of_warp(pairs, segment, supports, rows, batch, factors,
                              [&](unsigned some, double coefficient, std::size_t place) {
                                row.add(batch.unit, some, coefficient, place, sums);
                              });
      row.step(projection, sums);
    }
    row.store(fresh + warp * kWarpSize * Shape::kColumns);
  }
}

// The same for any D: a block takes one. `gradients` [blocks, D], or nullptr: shared memory.
__global__ void update_segments_kernel(PrototypeArrays prototypes, BatchArrays batch,
                                       SupportArrays supports, const RowState* rows,
                                       PairArrays pairs, GradientFactors factors,
                                       DeviceOptimizer optimizer, double* gradients) {
  ALPHAMARGIN_DYNAMIC_SHARED(double, shared_gradient);
  double* sums = gradients == nullptr ? shared_gradient : gradients + blockIdx.x * prototypes.dim;
  const std::size_t segments = *pairs.segments;
  for (std::size_t segment = blockIdx.x; segment < segments; segment += gridDim.x) {
    const std::size_t identity = pairs.identities[pairs.starts[segment]];
    for (std::size_t k = threadIdx.x; k < prototypes.dim; k += blockDim.x) sums[k] = 0;
    const double projection = add_segment(pairs, segment, supports, rows, batch, factors, sums);
    update_row(prototypes, optimizer, identity, sums, projection);
  }
}

}  // namespace

SortedPairs sort_pairs_by_class(const HeadCall& call, const Supports& supports,
                                const std::vector<RowState>& rows,
                                const std::vector<std::uint32_t>& counts) {
  DeviceContext& context = call.context;
  SortedPairs sorted;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    if (rows[row].pull != 0) sorted.pairs += counts[row] + std::size_t{1};
  }
  if (sorted.pairs > 0xffffffffu) {
    throw Failure(FailureCode::kOutOfMemory,
                  "the supports of a batch exceed 2^32 entries: use smaller batches");
  }
  sorted.segments = DeviceBuffer<std::uint32_t>(context, call.scratch, 1);
  if (sorted.pairs == 0) {
    sorted.segments.fill_bytes(0);
    return sorted;
  }
  DeviceBuffer<std::uint64_t> pair_offsets(context, call.scratch, rows.size());
  WithSpare<std::uint32_t> identities(context, call.scratch, sorted.pairs);
  WithSpare<std::uint64_t> sources(context, call.scratch, sorted.pairs);
  {
    DeviceBuffer<std::uint64_t> pair_counts(context, call.scratch, rows.size());
    launch(context, "count_pairs_kernel", &count_pairs_kernel,
           {blocks_for(rows.size(), kThreads, 0x7fffffff), kThreads}, call.rows,
           supports.counts.data(), rows.size(), pair_counts.data());
    exclusive_sum(context, call.scratch, pair_counts.data(), pair_offsets.data(), rows.size());
  }
  launch(context, "fill_pairs_kernel", &fill_pairs_kernel,
         {static_cast<unsigned>(rows.size()), kThreads}, call.rows, supports.arrays(),
         pair_offsets.data(), identities.own.data(), sources.own.data());

  const auto largest = static_cast<std::uint32_t>(call.prototypes.identities - 1);
  // A stable sort keeps the rows of a class in order.
  sort_pairs(context, call.scratch, identities, sources,
             std::max(1, static_cast<int>(std::bit_width(largest))));
  sorted.identities = std::move(identities.own);
  sorted.sources = std::move(sources.own);
  sources.spare = {};  // free for what comes next
  DeviceBuffer<std::uint8_t> flags(context, call.scratch, sorted.pairs);
  launch(context, "flag_starts_kernel", &flag_starts_kernel,
         {blocks_for(sorted.pairs, kThreads, kUpdateBlocks), kThreads}, sorted.identities.data(),
         sorted.pairs, flags.data());
  sorted.starts = std::move(identities.spare);
  select_indices(context, call.scratch, flags.data(), sorted.starts.data(), sorted.segments.data(),
                 sorted.pairs);
  return sorted;
}

void sparse_embedding_gradients(const HeadCall& call, const Supports& supports,
                                float* grad_embeddings) {
  const auto tiles = static_cast<unsigned>((call.batch.dim + kTileColumns - 1) / kTileColumns);
  launch(call.context, "embedding_gradient_kernel", &embedding_gradient_kernel,
         {{static_cast<unsigned>(call.batch.rows), tiles}, kThreads}, call.prototypes, call.batch,
         supports.arrays(), call.rows,
         GradientFactors::of(call.loss, call.counted, call.prototypes.classes()), grad_embeddings);
}

void update_sparse(const HeadCall& call, const Supports& supports, const SortedPairs& pairs,
                   const Optimizer& optimizer) {
  if (pairs.pairs == 0) return;
  const GradientFactors factors =
      GradientFactors::of(call.loss, call.counted, call.prototypes.classes());
  if (call.prototypes.dim <= kWarpSize * kMostRowColumns) {
    with_row_shape(call.prototypes.dim, [&](auto shape) {
      launch(call.context, "update_narrow_segments_kernel",
             &update_narrow_segments_kernel<decltype(shape)>,
             {blocks_for(pairs.pairs, kThreads / kWarpSize, kUpdateBlocks), kThreads},
             call.prototypes, call.batch, supports.arrays(), call.rows, PairArrays::of(pairs),
             factors, DeviceOptimizer::of(optimizer));
    });
    return;
  }
  const std::size_t bytes = call.prototypes.dim * sizeof(double);
  const bool in_shared = bytes <= kSharedGradientBytes;
  const std::size_t most =
      in_shared ? kUpdateBlocks : std::clamp<std::size_t>(kGlobalGradientBytes / bytes, 1, 512);
  const unsigned blocks = blocks_for(pairs.pairs, 1, most);
  DeviceBuffer<double> gradients(call.context, call.scratch,
                                 in_shared ? 0 : blocks * call.prototypes.dim);
  launch(call.context, "update_segments_kernel", &update_segments_kernel,
         {blocks, kThreads, in_shared ? bytes : 0}, call.prototypes, call.batch, supports.arrays(),
         call.rows, PairArrays::of(pairs), factors, DeviceOptimizer::of(optimizer),
         gradients.data());
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
