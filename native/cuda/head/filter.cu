// Which kernels filter.

#include <string>

#include "cuda/head/filter.h"
#include "cuda/head/shadow.cuh"
#include "cuda/launch.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr int kFirstWithTensorCores = 80;
constexpr int kHopper = 90;  // sm_90a: not the generations after it

bool is_wgmma(FilterTier tier) {
  return tier == FilterTier::kWgmma || tier == FilterTier::kWgmmaInt8 ||
         tier == FilterTier::kWgmmaSplit;
}

std::string version_text(int capability) {
  return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

[[noreturn]] void refuse(const DeviceContext& context, const std::string& what) {
  const int device = context.compute_capability();
  const int code = context.code_capability();
  throw Failure(FailureCode::kDevice, what + ", and the device has " + version_text(device) +
                                          (code < device ? ", for which the addon has code of " +
                                                               version_text(code) + " only"
                                                         : ""));
}

}  // namespace

FilterTier chosen_filter(const DeviceContext& context, FilterTier wanted, std::size_t dim) {
  const int capability = context.code_capability();
  if (wanted == FilterTier::kAuto) {
    return capability >= kFirstWithTensorCores ? FilterTier::kMma : FilterTier::kSimt;
  }
  if (wanted == FilterTier::kSimt) return wanted;
  if (shadow_format(wanted) == ShadowFormat::kInt8 && dim > kLargestInt8Dim) {
    throw Failure(FailureCode::kInvalidArgument,
                  "expected dim to be at most " + std::to_string(kLargestInt8Dim) +
                      " with a filter of int8 but received " + std::to_string(dim));
  }
  if (!is_wgmma(wanted)) {
    if (capability < kFirstWithTensorCores) {
      refuse(context, "filters with tensor cores need compute capability 8.0 or later");
    }
    return wanted;
  }
  if (context.compute_capability() != kHopper) {
    refuse(context, "the filters 'wgmma' need compute capability 9.0");
  }
  if (!has_wgmma_code()) {
    throw Failure(FailureCode::kDevice,
                  "the filters 'wgmma' are not in this build: they need the architecture 90a");
  }
  return wanted;
}

void filter_prototypes(DeviceContext& context, const PrototypeArrays& prototypes,
                       const BatchArrays& batch, const CandidateArrays& candidates,
                       std::size_t begin, std::size_t end) {
  if (begin >= end || batch.rows == 0) return;
  check_grid_rows(batch.rows, kSimtTile);  // of the plainest kernel
  const FilterTier tier = chosen_filter(context, prototypes.filter, prototypes.dim);
  const auto filter = tier == FilterTier::kSimt ? filter_by_simt
                      : is_wgmma(tier)          ? filter_by_wgmma
                                                : filter_by_mma;
  filter(context, prototypes, batch, candidates, begin, end);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
