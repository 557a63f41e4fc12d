// Exact identification on the device; the argument is head/nearest.cc's. A query's bound is what k
// classes certainly reach, counted in bins, minus the slack; what is left is rescored in float64
// from the originals. No list is sorted before that.
//
// Memory per query is bounded: a list that would grow beyond kMostUndecided (or 4k) is settled by
// exact cosines, since who is worse than k others can never be among the best k. When a group of
// prototypes brings more than the list can take (equal prototypes), the query is run again with
// groups that always fit.

#include <algorithm>
#include <vector>

#include "cuda/head/cosine_bins.cuh"
#include "cuda/head/exact_dot.cuh"
#include "cuda/head/nearest.h"
#include "cuda/head/sorted_list.cuh"
#include "cuda/head/sub_centres.cuh"
#include "cuda/launch.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 128;
constexpr std::size_t kFirstGroup = 256;
constexpr std::size_t kLargestGroup = std::size_t{1} << 18;
constexpr std::size_t kSafeGroup = 4096;
constexpr std::size_t kMostUndecided = 2048;
constexpr std::size_t kScratchBytes = std::size_t{80} << 20;
// Queries of a full tile of the filter, twice.
constexpr std::size_t kWholeChunk = 256;

struct Match {
  double cosine;
  std::int64_t identity;
};

struct QueryArrays {
  CandidateArrays candidates;
  Match* matches;              // [Q, capacity], for settling and the answer
  std::uint32_t* kept_counts;  // [Q]: after the last tightening
  std::uint32_t* overflowed;   // [Q]
  std::size_t k;
  std::size_t settle_above;
};

// u of a class whose cosine is known (filter.h): a later bound takes 2 spread + slack off it again.
__device__ float upper_bound(const PrototypeArrays& prototypes, const BatchArrays& queries,
                             std::size_t row, const Match& match) {
  if (prototypes.residuals == nullptr) return static_cast<float>(match.cosine);
  const double spread =
      static_cast<double>(queries.factors[row]) * prototypes.residuals[match.identity];
  return static_cast<float>(match.cosine + spread);
}

// Exact matches of a list, best first; the other sub-centres of an identity last, in a list that
// ascends, whose cosines it spends. Called by all threads of a block.
template <bool kHasSubCentres>
__device__ void rank_exactly(const PrototypeArrays& prototypes, const BatchArrays& queries,
                             std::size_t row, Candidate* list, std::size_t count, Match* matches) {
  const std::size_t step = blockDim.x / kDotLanes;
  for (std::size_t base = 0; base < count; base += step) {
    const std::size_t own = base + threadIdx.x / kDotLanes;
    const std::size_t j = own < count ? own : count - 1;
    const std::int32_t identity = list[j].identity;
    const double cosine =
        exact_cosine(prototypes, queries, row, static_cast<std::size_t>(identity));
    if (own < count && threadIdx.x % kDotLanes == 0) matches[j] = {cosine, identity};
  }
  __syncthreads();
  if constexpr (kHasSubCentres) {
    for (std::size_t j = threadIdx.x; j < count; j += blockDim.x) {
      const bool is_best = is_best_of_identity(
          j, count, prototypes.sub_centres,
          [&](std::size_t i) { return static_cast<std::size_t>(matches[i].identity); },
          [&](std::size_t i) { return matches[i].cosine; });
      list[j].cosine = is_best ? 1 : 0;
    }
    __syncthreads();
    for (std::size_t j = threadIdx.x; j < count; j += blockDim.x) {
      if (list[j].cosine == 0) matches[j].cosine = -INFINITY;
    }
  }
  block_sort(matches, count, ByCosine{});
}

// A cosine that at least `k` ≤ count entries certainly reach: the edge of the bin of the k-th best.
template <class Cosine>
__device__ double reached_by(std::size_t k, std::size_t count, const Cosine& certain) {
  ALPHAMARGIN_SHARED(unsigned, counts, kCosineBins);
  ALPHAMARGIN_SHARED(double, found, 1);
  const CosineRange range = range_of(count, certain);
  const CosineBins bins(counts, range.smallest, range.largest, count, certain);
  // A thread's bins lie side by side, the best first.
  constexpr unsigned kOwn = kCosineBins / kThreads;
  const unsigned top = kCosineBins - 1 - threadIdx.x * kOwn;
  unsigned sum = 0;
  for (unsigned i = 0; i < kOwn; ++i) sum += bins.count(top - i);
  std::size_t reached = block_offsets(sum).before;
  for (unsigned i = 0; i < kOwn && reached < k; ++i) {
    reached += bins.count(top - i);
    if (reached >= k) found[0] = bins.edge(top - i);
  }
  __syncthreads();
  return found[0];
}

__global__ void begin_kernel(QueryArrays query, std::size_t rows, std::int64_t again) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  // The second time only those that overflowed.
  const bool runs = again == 0 || query.overflowed[row] != 0;
  query.candidates.bounds[row] = runs ? -INFINITY : INFINITY;
  query.overflowed[row] = 0;
  if (!runs) return;
  query.candidates.counts[row] = 0;
  query.kept_counts[row] = 0;
}

template <bool kHasSubCentres>
__global__ void __launch_bounds__(kThreads)
    tighten_nearest_kernel(PrototypeArrays prototypes, BatchArrays queries, QueryArrays query) {
  const std::size_t row = blockIdx.x;
  const CandidateArrays& candidates = query.candidates;
  const std::size_t arrived = candidates.counts[row];
  if (arrived == query.kept_counts[row]) return;
  __syncthreads();
  if (arrived > candidates.capacity) {
    if (threadIdx.x != 0) return;
    query.overflowed[row] = 1;
    candidates.bounds[row] = INFINITY;
    candidates.counts[row] = query.kept_counts[row];
    return;
  }
  Candidate* list = candidates.lists + row * candidates.capacity;
  std::size_t kept = arrived;
  std::size_t classes = arrived;
  float bound = -INFINITY;
  const ListedCosine certain(list, queries.slack[row], prototypes, queries, row);
  // k classes are certainly as good as what they reach. A class is among the best k only if its
  // upper bound is not below. Rounded down.
  const auto raise = [&](const auto& cosine) {
    const double reached = reached_by(query.k, arrived, cosine);
    bound = static_cast<float>(reached - 1.001 * queries.slack[row] - 0x1p-22);
    kept = block_compact(list, arrived,
                         [bound](const Candidate& entry) { return entry.cosine > bound; });
  };
  if constexpr (kHasSubCentres) {
    block_sort(list, arrived, ByIdentity{});
    const CertainOfIdentity best{certain, arrived, prototypes.sub_centres};
    std::size_t own = 0;
    for (std::size_t j = threadIdx.x; j < arrived; j += blockDim.x) own += best.is_best(j) ? 1 : 0;
    classes = block_sum(own);
    if (classes >= query.k) raise(best);
  } else {
    if (classes >= query.k) raise(certain);
  }
  if (kept > query.settle_above) {
    Match* matches = query.matches + row * candidates.capacity;
    rank_exactly<kHasSubCentres>(prototypes, queries, row, list, kept, matches);
    // Upper bounds again, and as tight as they can be.
    kept = min(query.k, classes);
    for (std::size_t j = threadIdx.x; j < kept; j += blockDim.x) {
      list[j] = {static_cast<std::int32_t>(matches[j].identity),
                 upper_bound(prototypes, queries, row, matches[j])};
    }
  }
  if (threadIdx.x != 0) return;
  candidates.counts[row] = static_cast<std::uint32_t>(kept);
  query.kept_counts[row] = static_cast<std::uint32_t>(kept);
  candidates.bounds[row] = bound;
}

template <bool kHasSubCentres>
__global__ void __launch_bounds__(kThreads)
    answer_kernel(PrototypeArrays prototypes, BatchArrays queries, QueryArrays query,
                  std::int32_t* identities, float* cosines) {
  const std::size_t row = blockIdx.x;
  if (query.overflowed[row] != 0) return;
  const CandidateArrays& candidates = query.candidates;
  Candidate* list = candidates.lists + row * candidates.capacity;
  Match* matches = query.matches + row * candidates.capacity;
  const std::size_t count = candidates.counts[row];
  if constexpr (kHasSubCentres) block_sort(list, count, ByIdentity{});
  rank_exactly<kHasSubCentres>(prototypes, queries, row, list, count, matches);
  for (std::size_t rank = threadIdx.x; rank < query.k; rank += blockDim.x) {
    identities[row * query.k + rank] = static_cast<std::int32_t>(
        prototypes.class_of(static_cast<std::size_t>(matches[rank].identity)));
    cosines[row * query.k + rank] = static_cast<float>(matches[rank].cosine);
  }
}

// The rows first … first + count − 1 of a batch.
BatchArrays part(const BatchArrays& batch, std::size_t first, std::size_t count) {
  BatchArrays rows = batch;
  rows.values += first * batch.dim;
  rows.norms += first;
  rows.unit += first * batch.dim;
  if (batch.half_unit != nullptr) rows.half_unit += first * batch.shadow_dim;
  if (batch.int8_unit != nullptr) rows.int8_unit += first * batch.shadow_dim;
  if (batch.upper_unit != nullptr) rows.upper_unit += first * batch.shadow_dim;
  if (batch.factors != nullptr) {
    rows.scales += first;
    rows.factors += first;
  }
  rows.slack += first;
  rows.rows = count;
  return rows;
}

void stream(DeviceContext& context, const PrototypeArrays& prototypes, const BatchArrays& queries,
            const QueryArrays& query, bool again, const Cancellation& cancellation) {
  const auto rows = static_cast<unsigned>(queries.rows);
  launch(context, "begin_kernel", &begin_kernel, {blocks_for(rows, kThreads), kThreads}, query,
         queries.rows, again ? 1 : 0);
  for (std::size_t begin = 0; begin < prototypes.identities;) {
    cancellation.check();
    const std::size_t group = again        ? kSafeGroup
                              : begin == 0 ? std::max(kFirstGroup, std::min(query.k, kSafeGroup))
                                           : std::min(3 * begin, std::max(begin, kLargestGroup));
    const std::size_t end = std::min(prototypes.identities, begin + group);
    filter_prototypes(context, prototypes, queries, query.candidates, begin, end);
    launch(
        context, "tighten_nearest_kernel",
        prototypes.sub_centres > 1 ? &tighten_nearest_kernel<true> : &tighten_nearest_kernel<false>,
        {rows, kThreads}, prototypes, queries, query);
    begin = end;
  }
}

}  // namespace

void nearest(DeviceContext& context, MemoryAccount& scratch, const PrototypeArrays& prototypes,
             const BatchArrays& queries, std::size_t k, std::int32_t* identities, float* cosines,
             const Cancellation& cancellation) {
  // What was settled or kept, and a safe group on top of it.
  const std::size_t settle_above = std::max(kMostUndecided, 4 * k);
  const std::size_t capacity = std::min(prototypes.identities, settle_above + kSafeGroup);
  const std::size_t row_bytes = capacity * (sizeof(Candidate) + sizeof(Match)) + k * 8;
  std::size_t most = std::min(queries.rows, std::max<std::size_t>(1, kScratchBytes / row_bytes));
  if (most < queries.rows && most > kWholeChunk) most -= most % kWholeChunk;

  DeviceBuffer<Candidate> lists(context, scratch, most * capacity);
  DeviceBuffer<Match> matches(context, scratch, most * capacity);
  DeviceBuffer<std::uint32_t> counts(context, scratch, most);
  DeviceBuffer<std::uint32_t> kept_counts(context, scratch, most);
  DeviceBuffer<std::uint32_t> overflowed(context, scratch, most);
  DeviceBuffer<float> bounds(context, scratch, most);
  DeviceBuffer<std::int32_t> found(context, scratch, most * k);
  DeviceBuffer<float> found_cosines(context, scratch, most * k);
  const QueryArrays query{{lists.data(), counts.data(), bounds.data(), nullptr, capacity},
                          matches.data(),
                          kept_counts.data(),
                          overflowed.data(),
                          k,
                          settle_above};
  std::vector<std::uint32_t> flags(most);
  // Declared after the host memory that downloads write to.
  const StreamDrain drain(context);
  for (std::size_t first = 0; first < queries.rows; first += most) {
    const std::size_t count = std::min(most, queries.rows - first);
    const BatchArrays rows = part(queries, first, count);
    for (const bool again : {false, true}) {
      stream(context, prototypes, rows, query, again, cancellation);
      launch(context, "answer_kernel",
             prototypes.sub_centres > 1 ? &answer_kernel<true> : &answer_kernel<false>,
             {static_cast<unsigned>(count), kThreads}, prototypes, rows, query, found.data(),
             found_cosines.data());
      context.download(flags.data(), overflowed.data(), count * sizeof(std::uint32_t));
      context.synchronize();
      if (std::all_of(flags.begin(), flags.begin() + static_cast<std::ptrdiff_t>(count),
                      [](std::uint32_t flag) { return flag == 0; })) {
        break;
      }
    }
    context.download(identities + first * k, found.data(), count * k * sizeof(std::int32_t));
    context.download(cosines + first * k, found_cosines.data(), count * k * sizeof(float));
    context.synchronize();
  }
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
