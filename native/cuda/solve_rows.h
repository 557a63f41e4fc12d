#pragma once
// Solves all rows of a matrix of cosines (or logits) on the device: the step that posteriors and
// losses share.
//
// Short rows take one block each; long ones (many slices, row_slices.cuh) alternate between a pass
// over all slices and a step of the row's bracket, until all rows have settled.

#include "cuda/device_loss.h"
#include "cuda/row_slices.cuh"
#include "cuda/row_solver.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// The target of a row of a loss.
struct TargetRow {
  DeviceTarget target;
  std::int64_t label;  // its place in the row, or kIgnoredLabel
};

// The last of a row's top classes (cpu/top_classes.h): those before it in the order (cosine
// descending, class ascending) have the inter-top-K penalty, and so has it.
struct LastTop {
  double cosine;
  std::int64_t place;
};

// The matrix and what belongs to it. `targets` [B] is nullptr for posteriors without a target.
struct RowProblem {
  RowSlices slices;
  Elements cosines;
  const float* reference;  // [C] or nullptr
  const TargetRow* targets;
  DeviceLoss loss;
  const LastTop* tops;  // [B], or nullptr without an inter-top-K penalty

  __device__ double measure(std::size_t j) const {
    return reference == nullptr ? 1.0 : reference[j];
  }
  // What the logits of the classes other than the target are made of: the cosine, with the
  // inter-top-K penalty if the class has it.
  __device__ double cosine(std::size_t row, std::size_t j) const {
    const double own = label_cosine(row, j);
    if (tops == nullptr) return own;
    const LastTop last = tops[row];
    const bool is_top =
        own > last.cosine || (own == last.cosine && static_cast<std::int64_t>(j) <= last.place);
    return is_top ? own + loss.top_penalty : own;
  }
  // θ + log q.
  __device__ double logit(std::size_t row, std::size_t j) const {
    const double theta = loss.scale * cosine(row, j);
    return reference == nullptr ? theta : theta + log(reference[j]);
  }
  // The cosine itself.
  __device__ double label_cosine(std::size_t row, std::size_t j) const {
    return cosines.at(row * slices.classes + j);
  }
  // The target's place in its row, or C.
  __device__ std::size_t skip(std::size_t row) const {
    return targets == nullptr ? slices.classes : static_cast<std::size_t>(targets[row].label);
  }
  // Whether the row takes no part: its elements are not to be read.
  __device__ bool ignored(std::size_t row) const {
    return targets != nullptr && targets[row].label == kIgnoredLabel;
  }
  __device__ DeviceTarget target(std::size_t row) const {
    return targets == nullptr ? DeviceTarget::none() : targets[row].target;
  }
};

// Writes solutions [B] (0 for ignored rows); flags rows whose measures leave float64 in
// `out_of_range`. Long rows of α > 1 synchronise now and then, to see whether they have settled.
void solve_rows(DeviceContext& context, MemoryAccount& scratch, const RowProblem& problem,
                RowSolution* solutions, std::uint32_t* out_of_range);

// Queues the check of all elements: finite, and at most `largest` in magnitude. Rows that `labels`
// (on the device, or nullptr) ignore are passed over.
void check_rows(DeviceContext& context, const RowSlices& slices, const Elements& values,
                float largest, std::uint32_t* first_bad, const std::int32_t* labels = nullptr);

// The error of the CPU's solver for a row whose measures leave float64.
Failure out_of_range_failure(DeviceContext& context, const RowSolution* solutions, std::size_t row);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
