// Rows that touch most classes (softmax, or supports beyond the scratch budget), on the device, and
// the losses of all rows.

#include "cuda/head/dense_chunks.h"
#include "cuda/launch.h"
#include "cuda/row_solver.cuh"
#include "math/label_smoothing.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

__global__ void losses_kernel(DeviceLoss loss, std::size_t classes, RowState* rows,
                              std::size_t count) {
  const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  RowState& row = rows[i];
  if (row.label < 0) return;
  row.pull = target_pull(loss.smoothing, static_cast<double>(classes), row.others);
  row.loss = row.smoothing;
  if (!(row.others > 0)) return;
  row.loss += loss_of(loss, row.target, row.solution, loss.scale * row.excess_cosine);
}

}  // namespace

void solve_dense_rows(const HeadCall& call, const std::vector<std::uint32_t>& dense_rows) {
  if (dense_rows.empty()) return;
  DenseChunks chunks(call, dense_rows);
  if (call.loss.is_softmax()) {
    solve_softmax(call, chunks);
  } else {
    solve_by_passes(call, chunks);
  }
}

void finish_losses(const HeadCall& call) {
  launch(call.context, "losses_kernel", &losses_kernel,
         {blocks_for(call.batch.rows, kChunkThreads), kChunkThreads}, call.loss,
         call.prototypes.classes(), call.rows, call.batch.rows);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
