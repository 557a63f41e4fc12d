// The forward pass of the head on the device: start_rows → sparse rows, dense rows → losses → row
// states to the host.

#include <algorithm>
#include <cmath>

#include "cuda/head/forward_pass.h"
#include "cuda/head/nearest.h"
#include "cuda/launch.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 128;

__global__ void mark_dense_kernel(RowState* rows, std::size_t count) {
  const std::size_t row = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row < count && rows[row].ignored == 0) rows[row].dense = 1;
}

}  // namespace

ForwardPass::ForwardPass(const HeadView& head, MemoryAccount& scratch, const RealMatrix& embeddings,
                         const std::int32_t* labels, const Loss& loss,
                         const Cancellation& cancellation)
    : states_(embeddings.rows()),
      counts_(embeddings.rows()),
      counted_(count_rows(labels, embeddings.rows(), head.prototypes.classes())),
      batch_(head.context, scratch, embeddings, head.prototypes.format(), labels),
      rows_(head.context, scratch, embeddings.rows()),
      call_{head.context,
            scratch,
            head.prototypes,
            batch_.arrays(),
            DeviceLoss::of(loss),
            counted_,
            rows_.data(),
            head.scratch_budget.of(embeddings.rows()),
            head.fast,
            cancellation,
            {},
            -INFINITY},
      drain_(head.context) {
  batch_.ask();
  start_rows(call_, loss, batch_.labels());
  if (loss.top_penalty > 0 && labels != nullptr) find_top_classes(loss, labels);
  if (call_.loss.is_softmax()) {
    mark_all_dense(labels);
  } else {
    RecentThresholds* const recent = labels == nullptr ? nullptr : head.recent;
    if (recent != nullptr) call_.assumed = recent->assumed(loss);
    supports_ = solve_sparse_rows(call_);
    batch_.throw_if_bad("embeddings");
    finish_rows();
    for (std::size_t row = 0; row < states_.size(); ++row) {
      if (states_[row].dense != 0) dense_rows_.push_back(static_cast<std::uint32_t>(row));
    }
    overflow_rows_ = dense_rows_.size();
    if (recent != nullptr) remember(*recent);
  }
  if (call_.loss.is_softmax() || overflow_rows_ > 0) {
    solve_dense_rows(call_, dense_rows_);
    finish_rows();
  }
  cancellation.check();
}

// Losses, and what the host must know of the rows: one wait for the device.
void ForwardPass::finish_rows() {
  finish_losses(call_);
  rows_.download(states_.data());
  supports_.counts.download(counts_.data());
  call_.context.synchronize();
  batch_.throw_if_bad("embeddings");
}

// What the thresholds of the rows say to the next call; as in head/sparse_rows.cc.
void ForwardPass::remember(RecentThresholds& recent) const {
  for (const RowState& row : states_) {
    if (row.ignored != 0 || row.dense != 0) continue;
    recent.add(row.solution.reference - row.solution.upper / call_.loss.beta);
  }
  const StreamNotes& notes = supports_.notes;
  if (notes.assumed) recent.judge(notes.missed, counted_);
  if (notes.crowded || overflow_rows_ > 0) recent.clear();
}

// By exact cosines, in one more pass of the filter.
void ForwardPass::find_top_classes(const Loss& loss, const std::int32_t* labels) {
  // A bad row would be like all classes.
  call_.context.synchronize();
  batch_.throw_if_bad("embeddings");
  const std::size_t rows = states_.size();
  const std::size_t k = std::min(loss.top_count + 1, call_.prototypes.classes());
  std::vector<std::int32_t> identities(rows * k);
  std::vector<float> cosines(rows * k);
  nearest(call_.context, call_.scratch, call_.prototypes, call_.batch, k, identities.data(),
          cosines.data(), call_.cancellation);
  const std::size_t count = std::min(loss.top_count, k);
  top_classes_.assign(rows * count, -1);
  for (std::size_t row = 0; row < rows; ++row) {
    std::size_t found = 0;
    for (std::size_t rank = 0; rank < k && found < count; ++rank) {
      const std::int32_t identity = identities[row * k + rank];
      if (identity != labels[row]) top_classes_[row * count + found++] = identity;
    }
  }
  top_ = to_device(call_.context, call_.scratch, top_classes_.data(), top_classes_.size());
  call_.top = {top_.data(), count, loss.top_penalty};
}

void ForwardPass::mark_all_dense(const std::int32_t* labels) {
  const std::size_t count = states_.size();
  launch(call_.context, "mark_dense_kernel", &mark_dense_kernel,
         {blocks_for(count, kThreads, 0x7fffffff), kThreads}, call_.rows, count);
  for (std::size_t row = 0; row < count; ++row) {
    if (labels != nullptr && labels[row] == kIgnoredLabel) continue;
    dense_rows_.push_back(static_cast<std::uint32_t>(row));
  }
  supports_.offsets = DeviceBuffer<std::uint64_t>(call_.context, call_.scratch, count);
  supports_.counts = DeviceBuffer<std::uint32_t>(call_.context, call_.scratch, count);
  supports_.offsets.fill_bytes(0);
  supports_.counts.fill_bytes(0);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
