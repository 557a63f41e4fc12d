#pragma once
// α-entmax posteriors of rows of logits and their backward pass on the device; the operations of
// cpu/posterior.h, with the same errors. Host memory of the caller is read and written before a
// call returns.

#include "cpu/posterior.h"
#include "cuda/device_context.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

void posterior(DeviceContext& context, MemoryAccount& scratch, const RealMatrix& logits,
               double alpha, const float* reference, const RealOutput& out,
               const Cancellation& cancellation);

// The result lies in host memory, counted on `host`.
SparseRows sparse_posterior(DeviceContext& context, MemoryAccount& scratch, MemoryAccount& host,
                            const RealMatrix& logits, double alpha, const float* reference,
                            const Cancellation& cancellation);

void posterior_backward(DeviceContext& context, MemoryAccount& scratch,
                        const RealMatrix& grad_posterior, const RealMatrix& posterior, double alpha,
                        const float* reference, const RealOutput& out,
                        const Cancellation& cancellation);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
