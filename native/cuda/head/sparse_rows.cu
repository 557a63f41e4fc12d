// Rows whose support is a small part of the classes, on the device: what the stream of prototypes
// has left (candidate_stream.h) is rescored from the float32 originals in float64 and solved
// exactly. Precision 'fast' takes the filter's cosines for the exact ones.
//
// Shapes: supports [Σ candidates]; a block, or four, per row. Accumulation: float64, entries in the
// order of their identities. Traffic: a prototype for every candidate.

#include "cuda/head/candidate_stream.h"
#include "cuda/head/exact_dot.cuh"
#include "cuda/head/sub_centres.cuh"
#include "cuda/launch.h"
#include "cuda/primitives.h"
#include "cuda/row_solver.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 128;
// So many blocks a multiprocessor: all rows of a usual batch at once on the devices that have 132,
// and registers for as many loads under way as exact_dot asks for.
[[maybe_unused]] constexpr unsigned kBlocksOfProcessor = 8;
// Blocks that share the candidates of a row, whose lists differ in length.
constexpr unsigned kRescoreParts = 4;

// Widest embedding that a block keeps as float64.
constexpr std::size_t kMostWideDim = 1024;

// Blocks (row, part), half a warp per candidate: exact cosines from the originals. The embedding is
// converted once for all of a block's candidates (kIsWide: it fits the shared memory given).
template <bool kIsWide>
__global__ void __launch_bounds__(kThreads, kBlocksOfProcessor)
    rescore_kernel(PrototypeArrays prototypes, BatchArrays batch, CandidateArrays candidates,
                   SupportArrays supports) {
  ALPHAMARGIN_DYNAMIC_SHARED(double, wide);
  const std::size_t row = blockIdx.x;
  const std::size_t count = candidates.counts[row];
  const float* const embedding = batch.values + row * batch.dim;
  const double norm = batch.norms[row];
  const std::size_t step = blockDim.x / kDotLanes;
  if (blockIdx.y * step >= count) return;
  if constexpr (kIsWide) {
    for (std::size_t k = threadIdx.x; k < batch.dim; k += blockDim.x) wide[k] = embedding[k];
    __syncthreads();
  }
  const Candidate* list = candidates.lists + row * candidates.capacity;
  const std::size_t first = supports.offsets[row];
  for (std::size_t base = blockIdx.y * step; base < count; base += step * gridDim.y) {
    const std::size_t own = base + threadIdx.x / kDotLanes;
    const std::size_t j = own < count ? own : count - 1;
    const std::int32_t identity = list[j].identity;
    const auto place = static_cast<std::size_t>(identity);
    const double cosine = kIsWide ? exact_cosine(prototypes, wide, norm, place)
                                  : exact_cosine(prototypes, embedding, norm, place);
    if (own < count && threadIdx.x % kDotLanes == 0) {
      supports.identities[first + j] = identity;
      supports.cosines[first + j] = cosine;
    }
  }
}

// The same without rescoring: the filter's cosines are kept (precision 'fast').
__global__ void __launch_bounds__(kThreads)
    keep_cosines_kernel(CandidateArrays candidates, SupportArrays supports) {
  const std::size_t row = blockIdx.x;
  const std::size_t count = candidates.counts[row];
  const Candidate* list = candidates.lists + row * candidates.capacity;
  const std::size_t first = supports.offsets[row];
  for (std::size_t j = threadIdx.x; j < count; j += blockDim.x) {
    const double cosine = list[j].cosine;
    supports.identities[first + j] = list[j].identity;
    supports.cosines[first + j] = cosine < -1 ? -1.0 : cosine > 1 ? 1.0 : cosine;
  }
}

struct ExactCosine {
  const double* cosines;
  __device__ double operator()(std::size_t j) const { return cosines[j]; }
};
struct ExactMeasure {
  const std::int32_t* identities;
  const PrototypeArrays& prototypes;
  __device__ double operator()(std::size_t j) const {
    return prototypes.measure(static_cast<std::size_t>(identities[j]));
  }
};

// Adds to the cosines of a row's top classes among its entries, which ascend by identity. Called by
// all threads.
__device__ void add_penalty(const TopArrays& top, std::size_t row, const std::int32_t* identities,
                            std::size_t count, std::size_t sub_centres, double penalty,
                            double* cosines) {
  if (top.count == 0) return;
  __syncthreads();
  if (threadIdx.x == 0) {
    top.for_row(row, [&](std::int32_t of_top) {
      const auto begin = static_cast<std::size_t>(of_top) * sub_centres;
      std::size_t low = 0;
      std::size_t high = count;
      while (low < high) {
        const std::size_t middle = (low + high) / 2;
        if (static_cast<std::size_t>(identities[middle]) < begin) {
          low = middle + 1;
        } else {
          high = middle;
        }
      }
      const std::size_t end = begin + sub_centres;
      for (; low < count && static_cast<std::size_t>(identities[low]) < end; ++low) {
        cosines[low] += penalty;
      }
    });
  }
  __syncthreads();
}

// A row's part of the supports.
struct RowEntries {
  std::int32_t* identities;
  double* cosines;
  double* posteriors;
};

// Posteriors of a row's entries; those with p > 0 stay, in their order, and are visited with cosine
// and p, each thread its own. Returns how many. Called by all threads.
template <class Visit>
__device__ std::size_t keep_support(const DeviceLoss& loss, const RowSolution& solution,
                                    const PrototypeArrays& prototypes, const RowEntries& entries,
                                    std::size_t count, const Visit& visit) {
  std::size_t kept = 0;
  for (std::size_t base = 0; base < count; base += blockDim.x) {
    const std::size_t j = base + threadIdx.x;
    std::int32_t identity = 0;
    double cosine = 0;
    double p = 0;
    if (j < count) {
      identity = entries.identities[j];
      cosine = entries.cosines[j];
      p = posterior_of(loss, solution, cosine,
                       prototypes.measure(static_cast<std::size_t>(identity)));
    }
    if (p > 0) visit(cosine, p);
    const BlockOffsets offsets = block_offsets(p > 0 ? 1 : 0);
    if (p > 0) {
      entries.identities[kept + offsets.before] = identity;
      entries.cosines[kept + offsets.before] = cosine;
      entries.posteriors[kept + offsets.before] = p;
    }
    kept += offsets.total;
  }
  __syncthreads();
  return kept;
}

// One entry of each identity stays: those of its other sub-centres are −∞ from now on. Posteriors
// are not known yet; they hold the answers until all have asked. Called by all threads.
__device__ void keep_best_sub_centres(const RowEntries& entries, std::size_t count,
                                      std::size_t sub_centres) {
  for (std::size_t j = threadIdx.x; j < count; j += blockDim.x) {
    const bool is_best = is_best_of_identity(
        j, count, sub_centres,
        [&](std::size_t i) { return static_cast<std::size_t>(entries.identities[i]); },
        [&](std::size_t i) { return entries.cosines[i]; });
    entries.posteriors[j] = is_best ? 1 : 0;
  }
  __syncthreads();
  for (std::size_t j = threadIdx.x; j < count; j += blockDim.x) {
    if (entries.posteriors[j] == 0) entries.cosines[j] = -INFINITY;
  }
  __syncthreads();
}

// A block per row: threshold, posteriors, moments; the support is compacted in place.
__global__ void __launch_bounds__(kThreads, kBlocksOfProcessor)
    finish_kernel(DeviceLoss loss, PrototypeArrays prototypes, SupportArrays supports,
                  const std::uint32_t* counts, TopArrays top, RowState* rows) {
  const std::size_t row = blockIdx.x;
  RowState& state = rows[row];
  if (state.dense != 0 || state.ignored != 0) {
    if (threadIdx.x == 0) supports.counts[row] = 0;
    return;
  }
  const std::size_t first = supports.offsets[row];
  const std::size_t count = counts[row];
  std::int32_t* identities = supports.identities + first;
  double* cosines = supports.cosines + first;
  double* posteriors = supports.posteriors + first;
  const DeviceTarget target = state.target;
  const bool has_measure = prototypes.reference != nullptr;
  const std::size_t sub_centres = prototypes.sub_centres;
  const RowEntries entries{identities, cosines, posteriors};
  if (sub_centres > 1) keep_best_sub_centres(entries, count, sub_centres);
  // The penalty is in the logits, not in the cosines that the gradient is projected with.
  add_penalty(top, row, identities, count, sub_centres, top.penalty, cosines);
  bool out_of_range = false;
  RowSolution solution = solve_row(loss, target, count, count, has_measure, ExactCosine{cosines},
                                   ExactMeasure{identities, prototypes}, 0, out_of_range);
  if (out_of_range) {
    // The dense rows' solver meets the same measures and says what is wrong with them.
    if (threadIdx.x == 0) {
      state.dense = 1;
      supports.counts[row] = 0;
    }
    return;
  }
  double others = 0;
  double excess = 0;
  std::size_t kept =
      keep_support(loss, solution, prototypes, entries, count, [](double, double) {});
  if (kept < count) {
    // How many candidates the filter let through beside the support decided which thread added
    // what. Once more without them: results depend on the support alone.
    solution = solve_row(loss, target, kept, kept, has_measure, ExactCosine{cosines},
                         ExactMeasure{identities, prototypes}, 0, out_of_range);
  }
  kept = keep_support(loss, solution, prototypes, entries, kept, [&](double cosine, double p) {
    others += p;
    excess += p * (cosine - target.cosine);
  });
  others = block_sum(others);
  excess = block_sum(excess);
  add_penalty(top, row, identities, kept, sub_centres, -top.penalty, cosines);
  if (threadIdx.x != 0) return;
  state.solution = solution;
  state.others = others;
  state.excess_cosine = excess;
  state.own = target.present != 0 ? target_posterior(loss, solution, target) : 0;
  state.support = static_cast<std::int64_t>(kept) + (state.own > 0 ? 1 : 0);
  supports.counts[row] = static_cast<std::uint32_t>(kept);
}

}  // namespace

Supports solve_sparse_rows(const HeadCall& call) {
  DeviceContext& context = call.context;
  MemoryAccount& scratch = call.scratch;
  const std::size_t rows = call.batch.rows;
  Supports supports;
  supports.offsets = DeviceBuffer<std::uint64_t>(context, scratch, rows);
  supports.counts = DeviceBuffer<std::uint32_t>(context, scratch, rows);
  CandidateStream stream(call);
  stream.run();
  const CandidateArrays candidates = stream.candidates();
  const std::size_t entries = stream.kept();
  supports.survivors = stream.survivors();
  supports.notes = stream.notes();
  supports.identities = DeviceBuffer<std::int32_t>(context, scratch, entries);
  supports.cosines = DeviceBuffer<double>(context, scratch, entries);
  supports.posteriors = DeviceBuffer<double>(context, scratch, entries);
  exclusive_sum(context, scratch, stream.counts(), supports.offsets.data(), rows);
  if (entries > 0 && call.fast) {
    launch(context, "keep_cosines_kernel", &keep_cosines_kernel,
           {static_cast<unsigned>(rows), kThreads}, candidates, supports.arrays());
  } else if (entries > 0) {
    const bool is_wide = call.batch.dim <= kMostWideDim;
    launch(context, "rescore_kernel", is_wide ? &rescore_kernel<true> : &rescore_kernel<false>,
           {dim3(static_cast<unsigned>(rows), kRescoreParts), kThreads,
            is_wide ? call.batch.dim * sizeof(double) : 0},
           call.prototypes, call.batch, candidates, supports.arrays());
  }
  launch(context, "finish_kernel", &finish_kernel, {static_cast<unsigned>(rows), kThreads},
         call.loss, call.prototypes, supports.arrays(), stream.counts(), call.top, call.rows);
  return supports;
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
