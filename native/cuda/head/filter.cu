// Which kernels filter.

#include <string>

#include "cuda/head/filter.h"
#include "cuda/head/shadow.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr int kFirstWithTensorCores = 80;
constexpr int kHopper = 90;  // sm_90a: not the generations after it

// Blocks along y of the plainest kernel.
constexpr std::size_t kMostRows = std::size_t{65535} * kSimtTile;

[[noreturn]] void refuse(const DeviceContext& context, const std::string& what) {
  throw Failure(FailureCode::kDevice, what + ", and the device has " +
                                          std::to_string(context.compute_capability() / 10) + "." +
                                          std::to_string(context.compute_capability() % 10));
}

}  // namespace

FilterTier chosen_filter(const DeviceContext& context, FilterTier wanted, std::size_t dim) {
  const int capability = context.compute_capability();
  switch (wanted) {
    case FilterTier::kAuto:
      return capability >= kFirstWithTensorCores ? FilterTier::kMma : FilterTier::kSimt;
    case FilterTier::kSimt:
      break;
    case FilterTier::kMmaInt8:
      if (dim > kLargestInt8Dim) {
        throw Failure(FailureCode::kInvalidArgument,
                      "expected dim to be at most " + std::to_string(kLargestInt8Dim) +
                          " with filter 'mma-int8' but received " + std::to_string(dim));
      }
      [[fallthrough]];
    case FilterTier::kMma:
    case FilterTier::kMmaSplit:
      if (capability < kFirstWithTensorCores) {
        refuse(
            context,
            "the filters 'mma', 'mma-int8' and 'mma-split' need compute capability 8.0 or later");
      }
      break;
    case FilterTier::kWgmma:
      if (capability != kHopper) refuse(context, "the filter 'wgmma' needs compute capability 9.0");
      if (!has_wgmma_code()) {
        throw Failure(FailureCode::kDevice,
                      "the filter 'wgmma' is not in this build: it needs the architecture 90a");
      }
      break;
  }
  return wanted;
}

void filter_prototypes(DeviceContext& context, const PrototypeArrays& prototypes,
                       const BatchArrays& batch, const CandidateArrays& candidates,
                       std::size_t begin, std::size_t end) {
  if (begin >= end || batch.rows == 0) return;
  if (batch.rows > kMostRows) {
    throw Failure(FailureCode::kInvalidArgument, "expected at most " + std::to_string(kMostRows) +
                                                     " rows on a CUDA device but received " +
                                                     std::to_string(batch.rows));
  }
  const FilterTier tier = chosen_filter(context, prototypes.filter, prototypes.dim);
  const auto filter = tier == FilterTier::kSimt    ? filter_by_simt
                      : tier == FilterTier::kWgmma ? filter_by_wgmma
                                                   : filter_by_mma;
  filter(context, prototypes, batch, candidates, begin, end);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
