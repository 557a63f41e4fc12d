#include "head/nearest.h"

#include <algorithm>
#include <cmath>

#include "head/candidate_stream.h"

namespace alphamargin {
namespace {

struct Match {
  double cosine;
  std::int32_t identity;
};

bool better(const Match& a, const Match& b) {
  return a.cosine != b.cosine ? a.cosine > b.cosine : a.identity < b.identity;
}

}  // namespace

void nearest(Runtime& runtime, MemoryAccount& scratch, const PrototypeView& prototypes,
             const Embeddings& queries, std::size_t k, std::int32_t* identities, float* cosines,
             const Cancellation& cancellation) {
  const auto slack = static_cast<float>(2.001 * certified_slack(prototypes.dim));
  std::vector<CandidateList> lists(queries.rows, make_buffer<Candidate>(scratch));
  auto bounds = make_bounds(scratch, queries, -INFINITY);

  const auto tighten = [&](std::size_t row, CandidateList& list) {
    if (list.size() < k) return bounds[row];
    const auto place = list.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(list.begin(), place, list.end(),
                     [](const Candidate& a, const Candidate& b) { return a.cosine > b.cosine; });
    // A class may be among the best k unless c̃ + δ < (k-th best c̃) − δ. Strictly less: a tie is
    // decided by the identity, after rescoring.
    const float bound = std::nextafter(place->cosine - slack, -INFINITY);
    std::erase_if(list, [bound](const Candidate& kept) { return !(kept.cosine > bound); });
    return bound;
  };
  stream_candidates(runtime, scratch, prototypes, queries, nullptr, bounds, lists, cancellation,
                    tighten);

  runtime.pool.run(queries.rows, [&](std::size_t row) {
    std::vector<Match> matches;
    matches.reserve(lists[row].size());
    for (const Candidate& candidate : lists[row]) {
      const auto identity = static_cast<std::size_t>(candidate.identity);
      matches.push_back({exact_cosine(prototypes, queries, row, identity), candidate.identity});
    }
    std::partial_sort(matches.begin(), matches.begin() + static_cast<std::ptrdiff_t>(k),
                      matches.end(), better);
    for (std::size_t rank = 0; rank < k; ++rank) {
      identities[row * k + rank] = matches[rank].identity;
      cosines[row * k + rank] = static_cast<float>(matches[rank].cosine);
    }
  });
}

}  // namespace alphamargin
