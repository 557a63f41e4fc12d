#pragma once
// α-divergence margin losses on rows of cosines on the device, forward and backward; the operations
// of cpu/loss.h, with the same errors.

#include "cpu/loss.h"
#include "cuda/device_context.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

void loss_forward(DeviceContext& context, MemoryAccount& scratch, const RealMatrix& cosines,
                  const std::int32_t* labels, const Loss& loss, const float* reference,
                  const LossOutputs& outputs, const Cancellation& cancellation);

void loss_backward(DeviceContext& context, MemoryAccount& scratch, const RealMatrix& cosines,
                   const std::int32_t* labels, const Loss& loss, const float* reference,
                   const RowSolution* solutions, const float* grad_loss,
                   const RealOutput& grad_cosines, const Cancellation& cancellation);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
