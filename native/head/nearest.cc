#include "head/nearest.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <unordered_set>

#include "head/candidate_stream.h"
#include "head/sub_centres.h"

namespace alphamargin {
namespace {

struct Match {
  double cosine;
  std::int32_t identity;  // with sub-centres the row of the prototype
};

// Candidates a query may keep undecided.
constexpr std::size_t kMostUndecided = 4096;

bool better(const Match& a, const Match& b) {
  return a.cosine != b.cosine ? a.cosine > b.cosine : a.identity < b.identity;
}

}  // namespace

std::size_t nearest(Runtime& runtime, MemoryAccount& scratch, const PrototypeView& prototypes,
                    const Embeddings& queries, std::size_t k, std::int32_t* identities,
                    float* cosines, const Cancellation& cancellation) {
  PrototypeFilter filter(runtime, scratch, prototypes, queries);
  const std::size_t sub_centres = prototypes.sub_centres;
  std::vector<CandidateList> lists(queries.rows, CandidateList(scratch));
  auto bounds = make_buffer<float>(scratch, queries.rows);
  std::fill(bounds.begin(), bounds.end(), -INFINITY);

  // The k best of a list by exact cosine, best first.
  const auto best_matches = [&](std::size_t row, const CandidateList& list) {
    std::vector<Match> matches;
    matches.reserve(list.size());
    for (std::size_t j = 0; j < list.size(); ++j) {
      const std::int32_t identity = list.identities()[j];
      matches.push_back(
          {exact_cosine(prototypes, queries, row, static_cast<std::size_t>(identity)), identity});
    }
    if (sub_centres > 1) {
      std::vector<Match> best;
      for_identities(
          matches.size(), sub_centres, [&](std::size_t j) { return matches[j].identity; },
          [&](std::size_t j) { return matches[j].cosine; },
          [&](std::size_t j, std::size_t, std::size_t) { best.push_back(matches[j]); });
      matches.swap(best);
    }
    const auto end = matches.begin() + static_cast<std::ptrdiff_t>(k);
    std::partial_sort(matches.begin(), end, matches.end(), better);
    matches.erase(end, matches.end());
    return matches;
  };

  const auto tighten = [&](std::size_t row, CandidateList& list) {
    if (list.size() < k) return bounds[row];
    std::vector<float> ordered(list.cosines(), list.cosines() + list.size());
    if (sub_centres > 1) {
      ordered.clear();
      for_identities(
          list.size(), sub_centres, [&](std::size_t j) { return list.identities()[j]; },
          [&](std::size_t j) { return list.cosines()[j]; },
          [&](std::size_t j, std::size_t, std::size_t) { ordered.push_back(list.cosines()[j]); });
      if (ordered.size() < k) return bounds[row];
    }
    const auto place = ordered.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(ordered.begin(), place, ordered.end(), std::greater<>());
    // A class may be among the best k unless c̃ + δ < (k-th best c̃) − δ. Strictly less: a tie is
    // decided by the identity, after rescoring.
    const auto slack = static_cast<float>(2.001 * filter.slack(row));
    const float bound = std::nextafter(*place - slack, -INFINITY);
    list.keep_above(bound);
    // Ties, or cosines closer than the slack, are settled now when they would fill the memory: who
    // is worse than k others by exact cosine and identity can never be among the best k.
    if (list.size() > std::max(kMostUndecided, 4 * k)) {
      const std::vector<Match> best = best_matches(row, list);
      std::unordered_set<std::int32_t> chosen;
      for (const Match& match : best) chosen.insert(match.identity);
      std::size_t kept = 0;
      for (std::size_t j = 0; j < list.size(); ++j) {
        if (chosen.count(list.identities()[j]) == 0) continue;
        list.identities()[kept] = list.identities()[j];
        list.cosines()[kept++] = list.cosines()[j];
      }
      list.resize(kept);
    }
    return bound;
  };
  const auto write = [&](std::size_t row) {
    const std::vector<Match> matches = best_matches(row, lists[row]);
    for (std::size_t rank = 0; rank < k; ++rank) {
      identities[row * k + rank] = matches[rank].identity / static_cast<std::int32_t>(sub_centres);
      cosines[row * k + rank] = static_cast<float>(matches[rank].cosine);
    }
  };
  CandidateStream stream(runtime, scratch, filter, queries.rows, prototypes.identities, nullptr, 0,
                         bounds, lists, cancellation, tighten);
  if (stream.fits_rows()) return stream.by_rows([&] { return write; }).bytes_read;
  const StreamStats stats = stream.by_classes();
  runtime.pool.run(queries.rows, write);
  return stats.bytes_read;
}

}  // namespace alphamargin
