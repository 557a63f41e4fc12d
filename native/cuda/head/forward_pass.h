#pragma once
// The whole forward pass of a batch on the device, and what it leaves for the backward pass.

#include <utility>
#include <vector>

#include "cuda/head/head_call.h"
#include "cuda/transfer.h"
#include "head/recent_thresholds.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// What the calls of a head read besides the batch.
struct HeadView {
  DeviceContext& context;
  PrototypeArrays prototypes;
  ScratchBudget scratch_budget;
  bool fast;
  RecentThresholds* recent;  // read and added to where rows are labelled
};

class ForwardPass {
 public:
  // Runs it. Labels are the host's [B], or nullptr.
  ForwardPass(const HeadView& head, MemoryAccount& scratch, const RealMatrix& embeddings,
              const std::int32_t* labels, const Loss& loss, const Cancellation& cancellation);

  const HeadCall& call() const { return call_; }
  const Supports& supports() const { return supports_; }
  const std::vector<RowState>& states() const { return states_; }
  const std::vector<std::uint32_t>& counts() const { return counts_; }
  const std::vector<std::uint32_t>& dense_rows() const { return dense_rows_; }
  std::size_t overflow_rows() const { return overflow_rows_; }

  // The optimiser's arrays may be made after the forward pass.
  void set_prototypes(const PrototypeArrays& prototypes) { call_.prototypes = prototypes; }

 private:
  void finish_rows();
  void remember(RecentThresholds& recent) const;
  void find_top_classes(const Loss& loss, const std::int32_t* labels);
  void mark_all_dense(const std::int32_t* labels);

  std::vector<RowState> states_;
  std::vector<std::uint32_t> counts_;
  std::vector<std::uint32_t> dense_rows_;
  std::size_t overflow_rows_ = 0;
  std::size_t counted_;
  PreparedBatch batch_;
  DeviceBuffer<RowState> rows_;
  HeadCall call_;
  Supports supports_;
  std::vector<std::int32_t> top_classes_;  // read until the context is synchronised
  DeviceBuffer<std::int32_t> top_;
  StreamDrain drain_;
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
