// Rows whose support is a small part of the classes, first half: stream with rising bounds. Why it
// is exact, with and without an assumed bound: head/sparse_rows.cc. Thresholds are solved on lower
// bounds of the cosines and a class is dropped only if its upper bound is below (filter.h).
// Precision 'fast' takes the filter's cosines for the exact ones: no error to allow for.
//
// Groups of prototypes depend on C alone, or on whether something is assumed; bounds are fixed
// within a group and do not depend on the order of a list, so the order in which survivors arrive
// does not matter.
//
// With sub-centres thresholds are solved on one cosine for each identity (head/sub_centres.h),
// which are found in lists sorted by row.
//
// Shapes: lists [B, capacity]; a block per row. Traffic: the shadow once; the lists three times for
// each group.

#include <algorithm>

#include "cuda/head/candidate_stream.h"
#include "cuda/head/sorted_list.cuh"
#include "cuda/head/sub_centres.cuh"
#include "cuda/head/threshold_bins.cuh"
#include "cuda/launch.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 128;
// So many blocks a multiprocessor: all rows of a usual batch at once on the devices that have 132.
[[maybe_unused]] constexpr unsigned kBlocksOfProcessor = 8;

// The first group is short, so that bounds are good before most of the prototypes are seen; later
// ones are three times what was seen before, and from a quarter of a million on as many: each ends
// with a pass over all lists. Where a bound is assumed it is good from the first class on.
constexpr std::size_t kFirstGroup = 256;
constexpr std::size_t kLargestGroup = std::size_t{1} << 18;

// Without an assumed bound a group brings up to three times as many candidates as a row has kept,
// to a list with room for twice the limit. That no row would have overflowed is certain enough
// where it kept no more than half of the limit. A call in which rows came near that is no example
// for the next one.
constexpr std::size_t kRoomForMore = 2;
constexpr bool is_crowded(std::size_t kept, std::size_t row_limit) {
  return kept > row_limit / kRoomForMore / 8 * 7;
}

// Bytes a candidate costs until the backward pass is done: two places in the list (what a group
// adds must fit beside what was kept), its support entry, its place in the sort by class (twice:
// sorting alternates between two).
constexpr std::size_t kBytesPerCandidate = 2 * sizeof(Candidate) + sizeof(std::int32_t) +
                                           2 * sizeof(double) +
                                           2 * (sizeof(std::uint32_t) + sizeof(std::uint64_t));

struct ListedMeasure {
  const Candidate* list;
  const PrototypeArrays& prototypes;
  __device__ double operator()(std::size_t j) const {
    return prototypes.measure(static_cast<std::size_t>(list[j].identity));
  }
};

// What a tightening goes by.
struct StreamLimits {
  std::size_t row_limit;
  double penalty;
  double assumed;      // a cosine that thresholds probably reach
  std::uint64_t fast;  // 1: the filter's cosines are the result
  std::uint64_t last;  // 1: all classes have been seen
};

// Cosine c̃ below which (or at which) a class is certainly outside the support. The threshold is
// that of c̃ − δ; −δ again for the class that is compared. Rounded down, so that float32 cannot
// raise it.
__device__ float filter_bound(double threshold, double slack) {
  const double bound = threshold - slack;
  if (bound < -2) return -INFINITY;  // below every cosine
  // Two units of the last place of a float32 below 4 in magnitude.
  return static_cast<float>(bound - 1e-7 * fabs(bound) - 0x1p-22);
}

// With measures of their own: solved on the sorted list. Where those seen so far leave float64,
// later ones may not: the last solution decides.
template <class Certain>
__device__ double measured_threshold(const DeviceLoss& loss, const DeviceTarget& target,
                                     const ListedMeasure& measure, std::size_t count,
                                     const Certain& certain, double known) {
  bool out_of_range = false;
  const RowSolution solution =
      solve_row(loss, target, count, count, true, certain, measure, kBoundTolerance, out_of_range);
  return out_of_range ? known : max(known, solution.reference - solution.upper / loss.beta);
}

__global__ void begin_kernel(RowProgress* progress, std::size_t rows, std::uint64_t assuming) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row < rows) progress[row] = {-INFINITY, 0, 0, static_cast<std::uint32_t>(assuming)};
}

// A block per row: from the row's list a new bound, and from the bound a shorter list.
template <bool kHasSubCentres>
__global__ void __launch_bounds__(kThreads, kBlocksOfProcessor)
    tighten_kernel(DeviceLoss loss, PrototypeArrays prototypes, BatchArrays batch,
                   StreamLimits limits, CandidateArrays candidates, RowState* rows,
                   RowProgress* progress, std::uint32_t* restarts) {
  ALPHAMARGIN_SHARED(std::uint64_t, room, kSharedCandidates);
  const std::size_t row = blockIdx.x;
  RowState& state = rows[row];
  Candidate* list = candidates.lists + row * candidates.capacity;
  const std::size_t arrived = candidates.counts[row];
  const RowProgress before = progress[row];
  if (state.ignored != 0) {
    if (threadIdx.x == 0) candidates.bounds[row] = INFINITY;
    return;
  }
  const bool decides = limits.last != 0 && before.assuming != 0;
  // Nothing new, nothing to decide, and a bound that is not the NaN it began as.
  const float old_bound = candidates.bounds[row];
  if (arrived == before.solved && !decides && old_bound == old_bound) return;
  bool dense = state.dense != 0 || arrived > candidates.capacity;
  // Read by every thread before the first one writes.
  __syncthreads();
  // Where the filter's cosines are the result, they have no error.
  const double slack = limits.fast != 0 ? 0.0 : batch.slack[row];
  double threshold = before.threshold;
  std::size_t kept = 0;
  float bound = INFINITY;
  if (!dense) {
    const ListedCosine certain(list, slack, prototypes, batch, row);
    const bool is_sorted = kHasSubCentres || prototypes.reference != nullptr;
    if (is_sorted && arrived > before.solved) sort_by_identity(list, arrived, room);
    const auto raise = [&](const auto& cosine) {
      threshold = prototypes.reference == nullptr
                      ? binned_threshold(loss, state.target, arrived, cosine, threshold)
                      : measured_threshold(loss, state.target, ListedMeasure{list, prototypes},
                                           arrived, cosine, threshold);
    };
    if constexpr (kHasSubCentres) {
      raise(CertainOfIdentity{certain, arrived, prototypes.sub_centres});
    } else {
      raise(certain);
    }
    const double reached = before.assuming != 0 ? max(threshold, limits.assumed) : threshold;
    // A class that the inter-top-K penalty may raise is kept from the penalty below the threshold.
    bound = filter_bound(reached, slack + limits.penalty);
    kept = block_compact(list, arrived,
                         [bound](const Candidate& entry) { return entry.cosine > bound; });
    // Streaming again costs less than the memory.
    dense = kept > limits.row_limit;
  }
  if (threadIdx.x != 0) return;
  RowProgress& own = progress[row];
  own.survivors = before.survivors + arrived - before.solved;
  if (decides) own.assuming = 0;
  if (decides &&
      (dense || kept > limits.row_limit / kRoomForMore || !(threshold >= limits.assumed))) {
    // As it was before the first class.
    own.threshold = -INFINITY;
    own.solved = 0;
    candidates.counts[row] = 0;
    candidates.bounds[row] = NAN;
    state.dense = 0;
    atomicAdd(restarts, 1u);
    return;
  }
  own.threshold = threshold;
  own.solved = candidates.counts[row] = dense ? 0 : static_cast<std::uint32_t>(kept);
  candidates.bounds[row] = dense ? INFINITY : bound;
  if (dense) state.dense = 1;
}

// Before rows are streamed again: the others have all they need.
__global__ void hold_kernel(float* bounds, std::size_t rows) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row < rows && bounds[row] == bounds[row]) bounds[row] = INFINITY;
}

__global__ void __launch_bounds__(kThreads, kBlocksOfProcessor)
    order_kernel(CandidateArrays candidates) {
  ALPHAMARGIN_SHARED(std::uint64_t, room, kSharedCandidates);
  const std::size_t row = blockIdx.x;
  sort_by_identity(candidates.lists + row * candidates.capacity, candidates.counts[row], room);
}

}  // namespace

CandidateStream::CandidateStream(const HeadCall& call)
    : call_(call),
      rows_(call.batch.rows),
      row_limit_(std::max<std::size_t>(
          16, call.scratch_budget / kBytesPerCandidate / std::max<std::size_t>(1, rows_))),
      capacity_(
          std::min(call.prototypes.identities, std::max(2 * row_limit_, row_limit_ + kFirstGroup))),
      lists_(call.context, call.scratch, rows_ * capacity_),
      counts_(call.context, call.scratch, rows_),
      progress_(call.context, call.scratch, rows_),
      bounds_(call.context, call.scratch, rows_),
      restarts_(call.context, call.scratch, 1) {}

CandidateArrays CandidateStream::candidates() const {
  return {lists_.data(), counts_.data(), bounds_.data(), call_.rows, capacity_};
}

void CandidateStream::run() {
  notes_.assumed = call_.assumed > -INFINITY;
  counts_.fill_bytes(0);
  restarts_.fill_bytes(0);
  bounds_.fill_bytes(0xff);
  launch(call_.context, "begin_kernel", &begin_kernel, {blocks_for(rows_, kThreads), kThreads},
         progress_.data(), rows_, notes_.assumed ? 1 : 0);
  stream(false);
  fetch();
  if (notes_.missed > 0) {
    launch(call_.context, "hold_kernel", &hold_kernel, {blocks_for(rows_, kThreads), kThreads},
           bounds_.data(), rows_);
    stream(true);
    fetch();
  }
}

void CandidateStream::stream(bool again) {
  const std::size_t identities = call_.prototypes.identities;
  tighten(false);  // the target alone is a first bound
  for (std::size_t begin = 0; begin < identities;) {
    call_.cancellation.check();
    const std::size_t group = notes_.assumed && !again ? identities
                              : begin == 0 ? kFirstGroup
                                           : std::min(3 * begin, std::max(begin, kLargestGroup));
    const std::size_t end = std::min(identities, begin + group);
    filter_prototypes(call_.context, call_.prototypes, call_.batch, candidates(), begin, end);
    begin = end;
    tighten(begin == identities);
  }
  if (!is_sorted()) {
    launch(call_.context, "order_kernel", &order_kernel, {static_cast<unsigned>(rows_), kThreads},
           candidates());
  }
}

void CandidateStream::tighten(bool is_last) {
  const StreamLimits limits{row_limit_, call_.top.penalty, call_.assumed, call_.fast ? 1u : 0u,
                            is_last ? 1u : 0u};
  launch(call_.context, "tighten_kernel",
         call_.prototypes.sub_centres > 1 ? &tighten_kernel<true> : &tighten_kernel<false>,
         {static_cast<unsigned>(rows_), kThreads}, call_.loss, call_.prototypes, call_.batch,
         limits, candidates(), call_.rows, progress_.data(), restarts_.data());
}

// What the host must know before it goes on: how much is left.
void CandidateStream::fetch() {
  std::vector<std::uint32_t> kept(rows_);
  std::vector<RowProgress> progress(rows_);
  std::uint32_t restarts = 0;
  {
    const StreamDrain drain(call_.context);
    counts_.download(kept.data());
    progress_.download(progress.data());
    restarts_.download(&restarts);
    call_.context.synchronize();
  }
  notes_.missed = restarts;
  kept_ = survivors_ = 0;
  notes_.crowded = false;
  for (std::size_t row = 0; row < rows_; ++row) {
    kept_ += kept[row];
    survivors_ += progress[row].survivors;
    notes_.crowded = notes_.crowded || is_crowded(kept[row], row_limit_);
  }
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
