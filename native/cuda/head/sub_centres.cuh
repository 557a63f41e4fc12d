#pragma once
// Sub-centres (head/sub_centres.h) in lists whose rows ascend: which entry counts for its identity.

#include "cuda/head/filter.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// Whether entry j of `count` has the largest cosine of those of its identity; ties go to the first.
template <class Row, class Cosine>
__device__ bool is_best_of_identity(std::size_t j, std::size_t count, std::size_t sub_centres,
                                    const Row& row, const Cosine& cosine) {
  const std::size_t own = row(j);
  const std::size_t first = own - own % sub_centres;
  const double value = cosine(j);
  for (std::size_t i = j; i > 0 && row(i - 1) >= first; --i) {
    if (cosine(i - 1) >= value) return false;
  }
  for (std::size_t i = j + 1; i < count && row(i) < first + sub_centres; ++i) {
    if (cosine(i) > value) return false;
  }
  return true;
}

// What is certain of the identities of a list: the largest lower bound of each. The other entries
// are −∞. The list ascends.
struct CertainOfIdentity {
  const ListedCosine& certain;
  std::size_t count;
  std::size_t sub_centres;

  __device__ bool is_best(std::size_t j) const {
    return is_best_of_identity(
        j, count, sub_centres,
        [&](std::size_t i) { return static_cast<std::size_t>(certain.list[i].identity); }, certain);
  }
  __device__ double operator()(std::size_t j) const { return is_best(j) ? certain(j) : -INFINITY; }
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
