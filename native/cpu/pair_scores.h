#pragma once
// Cosines of pairs of embeddings, for verification.

#include <cstdint>

#include "common/failure.h"
#include "common/real_matrix.h"
#include "common/runtime.h"

namespace alphamargin {

// Histograms over [−1, 1] of the cosines of all pairs of rows i < j: same label → genuine, else
// impostor. bin = clamp(⌊(cos + 1)/2·bins⌋). Cosines are float32 products. Counts are whole
// numbers, so the result does not depend on the order of work. Scratch: two histograms per thread.
void pair_histograms(Runtime& runtime, const RealMatrix& embeddings, const std::int32_t* labels,
                     std::size_t bins, double* genuine, double* impostor,
                     const Cancellation& cancellation);

// Cosine of rows enrolment[i] and test[i], float64 from the originals.
void pair_cosines(Runtime& runtime, const RealMatrix& embeddings, const std::int32_t* enrolment,
                  const std::int32_t* test, std::size_t pairs, float* cosines,
                  const Cancellation& cancellation);

}  // namespace alphamargin
