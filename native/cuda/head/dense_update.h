#pragma once
// The update of a chunk's prototypes from the coefficients of the dense rows and the pairs of the
// sparse ones.

#include <cstdint>

#include "cuda/head/dense_chunks.h"
#include "cuda/head/head_backward.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

class ChunkUpdate {
 public:
  // Allocates all that it needs. What it is given must outlive it.
  ChunkUpdate(const HeadCall& call, const Supports& supports, const SortedPairs& pairs,
              const Optimizer& optimizer, std::size_t most_classes);

  // Queues the update of the classes of a chunk: coefficients [R, count] of the dense rows, cosines
  // without a penalty.
  void update(const ChunkArrays& chunk, const float* coefficients, ChunkProducts& products);

  // Prototypes that were updated; there after the next synchronisation.
  void download_touched(std::uint32_t& touched) const { touched_.download(&touched); }

 private:
  const HeadCall& call_;
  const Supports& supports_;
  const SortedPairs& pairs_;
  const Optimizer& optimizer_;
  DeviceBuffer<float> gradients_;        // Σ g x̂ of the dense rows [count, D]
  DeviceBuffer<double> projections_;     // Σ g c of the dense rows [count]
  DeviceBuffer<std::uint32_t> work_;     // what there is to do for a class [count]
  DeviceBuffer<double> sums_;            // of wide rows [blocks, D]
  DeviceBuffer<std::uint32_t> touched_;  // their number
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
