#pragma once
// Exact identification on the device; see head/nearest.h.

#include "cuda/head/head_arrays.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// identities, cosines: host [N, k], descending cosine, ties to the smaller identity. 1 ≤ k ≤
// classes. An identity with sub-centres counts once, with the best of them.
void nearest(DeviceContext& context, MemoryAccount& scratch, const PrototypeArrays& prototypes,
             const BatchArrays& queries, std::size_t k, std::int32_t* identities, float* cosines,
             const Cancellation& cancellation);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
