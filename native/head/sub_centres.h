#pragma once
// Sub-centres: an identity may have K prototypes, rows K·identity … K·identity + K − 1, and its
// cosine with an embedding is the largest of theirs. Ties go to the first. The gradient flows to
// that sub-centre alone. Source: Deng et al. 2020, Sub-center ArcFace (ECCV 2020).
//
// Thresholds may be solved on one cosine for each identity only: two sub-centres of one identity,
// taken for two classes, would raise a bound above the true threshold. The largest of those
// sub-centres that were seen is a lower bound of the identity's cosine, so a bound solved on it is
// safe.

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace alphamargin {

// Among places 0 … count − 1, whose rows row(place) ascend, calls visit(best, first, last) for
// every identity with its places [first, last) and the one of largest cosine.
template <class Row, class Cosine, class Visit>
void for_identities(std::size_t count, std::size_t sub_centres, const Row& row,
                    const Cosine& cosine, const Visit& visit) {
  for (std::size_t first = 0; first < count;) {
    const auto identity = static_cast<std::size_t>(row(first)) / sub_centres;
    std::size_t best = first;
    std::size_t last = first + 1;
    while (last < count && static_cast<std::size_t>(row(last)) / sub_centres == identity) {
      if (cosine(last) > cosine(best)) best = last;
      ++last;
    }
    visit(best, first, last);
    first = last;
  }
}

}  // namespace alphamargin
