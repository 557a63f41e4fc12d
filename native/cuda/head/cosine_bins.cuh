#pragma once
// Cosines of a list counted in bins of equal width, by one block. Counts are the same in whatever
// order the list has come; an entry is taken for the smallest cosine of its bin.

#include "cuda/block_reduce.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

inline constexpr unsigned kCosineBins = 512;
inline constexpr double kLeastBinWidth = 1e-9;

struct CosineRange {
  double smallest = INFINITY;
  double largest = -INFINITY;
};

// Of cosine(j) for `count` entries; −∞ takes no part. Called by all threads, like the rest.
template <class Cosine>
__device__ CosineRange range_of(std::size_t count, const Cosine& cosine) {
  CosineRange range;
  for (std::size_t j = threadIdx.x; j < count; j += blockDim.x) {
    const double value = cosine(j);
    range.largest = max(range.largest, value);
    if (value > -INFINITY) range.smallest = min(range.smallest, value);
  }
  return {block_smallest(range.smallest), block_largest(range.largest)};
}

class CosineBins {
 public:
  // `counts` [kCosineBins] is shared memory. Entries below `lowest` are left out.
  template <class Cosine>
  __device__ CosineBins(unsigned* counts, double lowest, double largest, std::size_t count,
                        const Cosine& cosine)
      : counts_(counts),
        lowest_(lowest),
        width_(max((largest - lowest) / kCosineBins, kLeastBinWidth)) {
    __syncthreads();  // earlier bins may still be read
    for (unsigned bin = threadIdx.x; bin < kCosineBins; bin += blockDim.x) counts[bin] = 0;
    __syncthreads();
    for (std::size_t j = threadIdx.x; j < count; j += blockDim.x) {
      const double value = cosine(j);
      if (value >= lowest) atomicAdd(&counts[bin_of(value)], 1u);
    }
    __syncthreads();
  }

  __device__ unsigned count(std::size_t bin) const { return counts_[bin]; }
  // The smallest cosine of a bin.
  __device__ double edge(std::size_t bin) const {
    return lowest_ + static_cast<double>(bin) * width_;
  }

 private:
  // The last bin whose edge is not above a cosine ≥ lowest.
  __device__ std::size_t bin_of(double cosine) const {
    const auto place = static_cast<std::size_t>((cosine - lowest_) / width_);
    std::size_t bin = min(place, std::size_t{kCosineBins - 1});
    while (bin > 0 && edge(bin) > cosine) --bin;
    return bin;
  }

  const unsigned* counts_;
  double lowest_;
  double width_;
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
