#pragma once
// The inter-top-K penalty: the K classes other than the target that are most similar to a row have
// the penalty m' added to their cosines, θ_j = s(c_j + m').
//
// Ties go to the smaller class. The choice is piecewise constant, so gradients pass through as if
// it were fixed. Source: Zhao et al. 2022, arXiv 2110.05042.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace alphamargin {

// The places of the `count` largest of cosine(0 … size − 1), `skip` (or `size`) left out,
// ascending.
template <class Cosine>
std::vector<std::uint32_t> top_places(std::size_t size, std::size_t skip, std::size_t count,
                                      const Cosine& cosine) {
  std::vector<std::uint32_t> places(size);
  std::iota(places.begin(), places.end(), 0u);
  if (skip < size) places.erase(places.begin() + static_cast<std::ptrdiff_t>(skip));
  if (places.size() > count) {
    const auto better = [&](std::uint32_t a, std::uint32_t b) {
      return cosine(a) != cosine(b) ? cosine(a) > cosine(b) : a < b;
    };
    const auto end = places.begin() + static_cast<std::ptrdiff_t>(count);
    std::nth_element(places.begin(), end, places.end(), better);
    places.erase(end, places.end());
    std::sort(places.begin(), places.end());
  }
  return places;
}

}  // namespace alphamargin
