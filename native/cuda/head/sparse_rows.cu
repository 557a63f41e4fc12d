// Rows whose support is a small part of the classes, on the device: stream with rising bounds,
// rescore what is left from the float32 originals in float64, solve exactly. Why it is exact:
// head/sparse_rows.cc. Thresholds are solved on lower bounds of the cosines and a class is dropped
// only if its upper bound is below (filter.h). Precision 'fast' takes the filter's cosines for the
// exact ones: no error to allow for, and no rescoring.
//
// Groups of prototypes depend on C alone; bounds are fixed within a group, and lists are sorted
// before anything is computed from them, so the order in which survivors arrive does not matter.

#include <algorithm>
#include <numeric>

#include "cuda/head/exact_dot.cuh"
#include "cuda/head/head_call.h"
#include "cuda/head/sorted_list.cuh"
#include "cuda/launch.h"
#include "cuda/primitives.h"
#include "cuda/row_solver.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 128;
// So many blocks a multiprocessor: all rows of a usual batch at once on the devices that have 132,
// and registers for as many loads under way as exact_dot asks for.
constexpr unsigned kBlocksOfProcessor = 8;
// Blocks that share the candidates of a row, whose lists differ in length.
constexpr unsigned kRescoreParts = 4;

// The first group is short, so that bounds are good before most of the prototypes are seen; later
// ones are three times what was seen before, and from a quarter of a million on as many: each ends
// with a pass over all lists.
constexpr std::size_t kFirstGroup = 256;
constexpr std::size_t kLargestGroup = std::size_t{1} << 18;

// Bounds on the way need few digits: any larger root is a safe bound.
constexpr double kBoundTolerance = 1e-3;

// Bytes a candidate costs until the backward pass is done: two places in the list (what a group
// adds must fit beside what was kept), its support entry, its place in the sort by class (twice:
// sorting is not in place).
constexpr std::size_t kBytesPerCandidate = 2 * sizeof(Candidate) + sizeof(std::int32_t) +
                                           2 * sizeof(double) +
                                           2 * (sizeof(std::uint32_t) + sizeof(std::uint64_t));

struct ListedMeasure {
  const Candidate* list;
  const float* reference;
  __device__ double operator()(std::size_t j) const { return reference[list[j].identity]; }
};

// Cosine c̃ below which (or at which) a class is certainly outside the support. The solution is of
// c̃ − δ; −δ again for the class that is compared. Rounded down, so that float32 cannot raise it.
__device__ float filter_bound(const DeviceLoss& loss, const RowSolution& lower_solution,
                              double slack) {
  const double bound = lower_solution.reference - lower_solution.upper / loss.beta - slack;
  if (bound < -2) return -INFINITY;  // below every cosine
  // Two units of the last place of a float32 below 4 in magnitude.
  return static_cast<float>(bound - 1e-7 * fabs(bound) - 0x1p-22);
}

// A block per row: from the row's list a new bound, and from the bound a shorter list.
__global__ void __launch_bounds__(kThreads, kBlocksOfProcessor)
    tighten_kernel(DeviceLoss loss, PrototypeArrays prototypes, BatchArrays batch,
                   std::uint64_t fast, CandidateArrays candidates, RowState* rows,
                   std::uint32_t* sorted_counts, std::uint64_t* survivors, std::size_t row_limit,
                   double penalty) {
  ALPHAMARGIN_SHARED(std::uint64_t, room, kSharedCandidates);
  const std::size_t row = blockIdx.x;
  RowState& state = rows[row];
  Candidate* list = candidates.lists + row * candidates.capacity;
  const std::size_t arrived = candidates.counts[row];
  const std::size_t before = sorted_counts[row];
  // Where the filter's cosines are the result, they have no error.
  const double slack = fast != 0 ? 0.0 : batch.slack[row];
  const float* reference = prototypes.reference;
  const DeviceTarget target = state.target;
  if (state.ignored != 0) {
    if (threadIdx.x == 0) candidates.bounds[row] = INFINITY;
    return;
  }
  bool dense = state.dense != 0;
  // Nothing new, and a bound that is not the NaN it began as.
  if (arrived == before && candidates.bounds[row] == candidates.bounds[row]) return;
  // Read by every thread before the first one writes.
  __syncthreads();
  if (threadIdx.x == 0) survivors[row] += arrived - before;
  std::size_t kept = 0;
  float bound = INFINITY;
  if (!dense && arrived > candidates.capacity) dense = true;
  if (!dense) {
    if (arrived > before) sort_by_identity(list, arrived, room);
    bool out_of_range = false;
    const RowSolution lower =
        solve_row(loss, target, arrived, arrived, reference != nullptr,
                  ListedCosine(list, slack, prototypes, batch, row), ListedMeasure{list, reference},
                  kBoundTolerance, out_of_range);
    // The measures seen so far leave float64; later classes may not. The last solution decides.
    // A class that the inter-top-K penalty may raise is kept from the penalty below the threshold.
    bound = out_of_range ? -INFINITY : filter_bound(loss, lower, slack + penalty);
    kept = block_compact(list, arrived,
                         [bound](const Candidate& entry) { return entry.cosine > bound; });
    // Streaming again costs less than the memory.
    if (kept > row_limit) dense = true;
  }
  if (threadIdx.x != 0) return;
  candidates.counts[row] = dense ? 0 : static_cast<std::uint32_t>(kept);
  sorted_counts[row] = dense ? 0 : static_cast<std::uint32_t>(kept);
  candidates.bounds[row] = dense ? INFINITY : bound;
  if (dense) state.dense = 1;
}

// Blocks (row, part), half a warp per candidate: exact cosines from the originals.
__global__ void __launch_bounds__(kThreads, kBlocksOfProcessor)
    rescore_kernel(PrototypeArrays prototypes, BatchArrays batch, CandidateArrays candidates,
                   SupportArrays supports) {
  const std::size_t row = blockIdx.x;
  const std::size_t count = candidates.counts[row];
  const Candidate* list = candidates.lists + row * candidates.capacity;
  const std::size_t first = supports.offsets[row];
  const std::size_t step = blockDim.x / kDotLanes;
  for (std::size_t base = blockIdx.y * step; base < count; base += step * gridDim.y) {
    const std::size_t own = base + threadIdx.x / kDotLanes;
    const std::size_t j = own < count ? own : count - 1;
    const std::int32_t identity = list[j].identity;
    const double cosine = exact_cosine(prototypes, batch, row, static_cast<std::size_t>(identity));
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
  const float* reference;
  __device__ double operator()(std::size_t j) const { return reference[identities[j]]; }
};

// Adds to the cosines of a row's top classes among its entries, which ascend by identity. Called by
// all threads.
__device__ void add_penalty(const TopArrays& top, std::size_t row, const std::int32_t* identities,
                            std::size_t count, double penalty, double* cosines) {
  if (top.count == 0) return;
  __syncthreads();
  if (threadIdx.x == 0) {
    top.for_row(row, [&](std::int32_t identity) {
      std::size_t low = 0;
      std::size_t high = count;
      while (low < high) {
        const std::size_t middle = (low + high) / 2;
        if (identities[middle] < identity) {
          low = middle + 1;
        } else {
          high = middle;
        }
      }
      if (low < count && identities[low] == identity) cosines[low] += penalty;
    });
  }
  __syncthreads();
}

// A block per row: threshold, posteriors, moments; the support is compacted in place.
__global__ void __launch_bounds__(kThreads, kBlocksOfProcessor)
    finish_kernel(DeviceLoss loss, const float* reference, SupportArrays supports,
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
  // The penalty is in the logits, not in the cosines that the gradient is projected with.
  add_penalty(top, row, identities, count, top.penalty, cosines);
  bool out_of_range = false;
  const RowSolution solution =
      solve_row(loss, target, count, count, reference != nullptr, ExactCosine{cosines},
                ExactMeasure{identities, reference}, 0, out_of_range);
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
  std::size_t kept = 0;
  for (std::size_t base = 0; base < count; base += blockDim.x) {
    const std::size_t j = base + threadIdx.x;
    std::int32_t identity = 0;
    double cosine = 0;
    double p = 0;
    if (j < count) {
      identity = identities[j];
      cosine = cosines[j];
      p = posterior_of(loss, solution, cosine, reference == nullptr ? 1.0 : reference[identity]);
    }
    if (p > 0) {
      others += p;
      excess += p * (cosine - target.cosine);
    }
    const BlockOffsets offsets = block_offsets(p > 0 ? 1 : 0);
    if (p > 0) {
      identities[kept + offsets.before] = identity;
      cosines[kept + offsets.before] = cosine;
      posteriors[kept + offsets.before] = p;
    }
    kept += offsets.total;
  }
  others = block_sum(others);
  excess = block_sum(excess);
  add_penalty(top, row, identities, kept, -top.penalty, cosines);
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
  const std::size_t identities = call.prototypes.identities;
  const float* reference = call.prototypes.reference;
  const std::size_t row_limit = std::max<std::size_t>(
      16, call.scratch_budget / kBytesPerCandidate / std::max<std::size_t>(1, rows));
  const std::size_t capacity =
      std::min(identities, std::max(2 * row_limit, row_limit + kFirstGroup));

  Supports supports;
  supports.offsets = DeviceBuffer<std::uint64_t>(context, scratch, rows);
  supports.counts = DeviceBuffer<std::uint32_t>(context, scratch, rows);
  DeviceBuffer<Candidate> lists(context, scratch, rows * capacity);
  DeviceBuffer<std::uint32_t> counts(context, scratch, rows);
  DeviceBuffer<std::uint32_t> sorted_counts(context, scratch, rows);
  DeviceBuffer<std::uint64_t> survivors(context, scratch, rows);
  DeviceBuffer<float> bounds(context, scratch, rows);
  counts.fill_bytes(0);
  sorted_counts.fill_bytes(0);
  survivors.fill_bytes(0);
  bounds.fill_bytes(0xff);
  const CandidateArrays candidates{lists.data(), counts.data(), bounds.data(), call.rows, capacity};
  const auto tighten = [&] {
    launch(context, "tighten_kernel", &tighten_kernel, {static_cast<unsigned>(rows), kThreads},
           call.loss, call.prototypes, call.batch, call.fast ? 1 : 0, candidates, call.rows,
           sorted_counts.data(), survivors.data(), row_limit, call.top.penalty);
  };
  tighten();  // the target alone is a first bound
  for (std::size_t begin = 0; begin < identities;) {
    call.cancellation.check();
    const std::size_t group =
        begin == 0 ? kFirstGroup : std::min(3 * begin, std::max(begin, kLargestGroup));
    const std::size_t end = std::min(identities, begin + group);
    filter_prototypes(context, call.prototypes, call.batch, candidates, begin, end);
    begin = end;
    tighten();
  }

  // The supports are as large as what is left: the one thing the host must know before it goes on.
  std::size_t entries = 0;
  {
    std::vector<std::uint32_t> kept(rows);
    std::vector<std::uint64_t> passed(rows);
    const StreamDrain drain(context);
    counts.download(kept.data());
    survivors.download(passed.data());
    context.synchronize();
    entries = std::accumulate(kept.begin(), kept.end(), std::size_t{0});
    supports.survivors = std::accumulate(passed.begin(), passed.end(), std::size_t{0});
  }
  supports.identities = DeviceBuffer<std::int32_t>(context, scratch, entries);
  supports.cosines = DeviceBuffer<double>(context, scratch, entries);
  supports.posteriors = DeviceBuffer<double>(context, scratch, entries);
  exclusive_sum(context, scratch, counts.data(), supports.offsets.data(), rows);
  if (entries > 0 && call.fast) {
    launch(context, "keep_cosines_kernel", &keep_cosines_kernel,
           {static_cast<unsigned>(rows), kThreads}, candidates, supports.arrays());
  } else if (entries > 0) {
    launch(context, "rescore_kernel", &rescore_kernel,
           {dim3(static_cast<unsigned>(rows), kRescoreParts), kThreads}, call.prototypes,
           call.batch, candidates, supports.arrays());
  }
  launch(context, "finish_kernel", &finish_kernel, {static_cast<unsigned>(rows), kThreads},
         call.loss, reference, supports.arrays(), counts.data(), call.top, call.rows);
  return supports;
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
