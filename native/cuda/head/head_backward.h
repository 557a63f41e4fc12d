#pragma once
// The backward pass of the head on the device; formulas in head/head_gradient.h.

#include "cuda/head/head_call.h"
#include "head/optimizer.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// sparse_backward.cu ----------------------------------------------------------------------------

// (row, class) pairs of the sparse rows, and of the targets of all rows with a loss, sorted by
// class and within a class by row: the transposed support.
struct SortedPairs {
  DeviceBuffer<std::uint32_t> identities;  // [pairs]
  DeviceBuffer<std::uint64_t> sources;     // [pairs]: row·2^32 + slot; slot kTargetSlot: the target
  DeviceBuffer<std::uint32_t> starts;      // first pair of each segment of equal classes [segments]
  DeviceBuffer<std::uint32_t> segments;    // how many [1], on the device
  std::size_t pairs = 0;
};
inline constexpr std::uint32_t kTargetSlot = 0xffffffffu;

// `rows` are the downloaded states: rows at zero loss contribute nothing.
SortedPairs sort_pairs_by_class(const HeadCall& call, const Supports& supports,
                                const std::vector<RowState>& rows,
                                const std::vector<std::uint32_t>& counts);

// ∂embeddings of the sparse rows [B, D] on the device (rows at zero loss: zeros; dense rows are
// left alone).
void sparse_embedding_gradients(const HeadCall& call, const Supports& supports,
                                float* grad_embeddings);

// Updates the prototypes of all segments, their norms and shadow rows. The number of prototypes
// touched is pairs.segments.
void update_sparse(const HeadCall& call, const Supports& supports, const SortedPairs& pairs,
                   const Optimizer& optimizer);

// dense_backward.cu -----------------------------------------------------------------------------

// Backward of a batch that has dense rows: ∂embeddings of the dense rows, and, with an optimizer,
// the update of all classes they or the sparse rows touch. `touched`, how many prototypes were (0
// without an optimizer), is filled in by the next synchronisation. Everything is allocated before
// the first prototype is written. `dense_rows` are read until the context is synchronised.
void dense_backward(const HeadCall& call, const std::vector<std::uint32_t>& dense_rows,
                    const Supports& supports, const SortedPairs& pairs, float* grad_embeddings,
                    const Optimizer* optimizer, std::uint32_t& touched);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
