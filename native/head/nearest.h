#pragma once
// Exact identification: the k prototypes of largest cosine for every query.
//
// The filter's bound is the k-th best lower bound so far; survivors are rescored in float64 from
// the float32 originals, so the answer is that of a full float64 search. Ties go to the smaller
// identity.

#include "common/failure.h"
#include "cpu/prototype_filter.h"

namespace alphamargin {

// identities, cosines [N, k], descending cosine. Requires 1 ≤ k ≤ C. An identity with sub-centres
// comes once, with the cosine of its best. Returns the bytes that the filter read.
std::size_t nearest(Runtime& runtime, MemoryAccount& scratch, const PrototypeView& prototypes,
                    const Embeddings& queries, std::size_t k, std::int32_t* identities,
                    float* cosines, const Cancellation& cancellation);

}  // namespace alphamargin
