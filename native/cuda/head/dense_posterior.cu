// Posteriors of rows that touch most classes, chunk by chunk to the host: counted, then written one
// behind the other.
//
// Shapes: cosines of a chunk [R, count]; one block per row and chunk. Traffic: the cosines of a
// chunk twice.

#include "cuda/block_reduce.cuh"
#include "cuda/head/dense_chunks.h"
#include "cuda/launch.h"
#include "cuda/primitives.h"
#include "cuda/row_solver.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

// float32 posterior of a prototype of a dense row, the target's own included.
__device__ float dense_posterior(const DeviceLoss& loss, const DenseRow& row, const RowState& state,
                                 std::size_t j) {
  if (row.is_target(j)) {
    const bool is_own = static_cast<std::int64_t>(row.chunk.begin + j) == state.label_row;
    return is_own ? static_cast<float>(state.own) : 0.0f;
  }
  return static_cast<float>(posterior_of(loss, state.solution, row.cosine(j), row.measure(j)));
}

__global__ void __launch_bounds__(kChunkThreads)
    count_chunk_kernel(DeviceLoss loss, PrototypeArrays prototypes, ChunkArrays chunk,
                       const RowState* rows, std::uint32_t* counts) {
  const std::size_t i = blockIdx.x;
  const RowState& state = rows[chunk.indices[i]];
  const DenseRow row(chunk, prototypes, i, rows);
  unsigned count = 0;
  for (std::size_t j = threadIdx.x; j < chunk.count; j += blockDim.x) {
    count += dense_posterior(loss, row, state, j) > 0 ? 1 : 0;
  }
  count = block_sum(count);
  if (threadIdx.x == 0) counts[i] = count;
}

__global__ void __launch_bounds__(kChunkThreads)
    fill_chunk_kernel(DeviceLoss loss, PrototypeArrays prototypes, ChunkArrays chunk,
                      const RowState* rows, const std::uint64_t* offsets, std::int32_t* columns,
                      float* values) {
  const std::size_t i = blockIdx.x;
  const RowState& state = rows[chunk.indices[i]];
  const DenseRow row(chunk, prototypes, i, rows);
  std::size_t place = offsets[i];
  for (std::size_t base = 0; base < chunk.count; base += blockDim.x) {
    const std::size_t j = base + threadIdx.x;
    const float p = j < chunk.count ? dense_posterior(loss, row, state, j) : 0.0f;
    const BlockOffsets found = block_offsets(p > 0 ? 1 : 0);
    if (p > 0) {
      columns[place + found.before] =
          static_cast<std::int32_t>(prototypes.class_of(chunk.begin + j));
      values[place + found.before] = p;
    }
    place += found.total;
  }
}

}  // namespace

void dense_posterior_rows(const HeadCall& call, const std::vector<std::uint32_t>& dense_rows,
                          std::vector<Buffer<std::int32_t>>& columns,
                          std::vector<Buffer<float>>& values) {
  if (dense_rows.empty()) return;
  DeviceContext& context = call.context;
  const std::size_t rows = dense_rows.size();
  std::vector<std::uint64_t> places(rows + 1);
  std::vector<std::int32_t> found;
  std::vector<float> posteriors;
  const StreamDrain drain(context);
  DenseChunks chunks(call, dense_rows);
  DeviceBuffer<std::uint32_t> counts(context, call.scratch, rows + 1);
  DeviceBuffer<std::uint64_t> offsets(context, call.scratch, rows + 1);
  const std::size_t most = rows * chunks.most_classes();
  DeviceBuffer<std::int32_t> device_columns(context, call.scratch, most);
  DeviceBuffer<float> device_values(context, call.scratch, most);
  const LaunchShape shape{static_cast<unsigned>(rows), kChunkThreads};
  counts.fill_bytes(0);
  chunks.for_chunks(call, [&](const ChunkArrays& chunk) {
    launch(context, "count_chunk_kernel", &count_chunk_kernel, shape, call.loss, call.prototypes,
           chunk, call.rows, counts.data());
    exclusive_sum(context, call.scratch, counts.data(), offsets.data(), rows + 1);
    launch(context, "fill_chunk_kernel", &fill_chunk_kernel, shape, call.loss, call.prototypes,
           chunk, call.rows, offsets.data(), device_columns.data(), device_values.data());
    offsets.download(places.data());
    context.synchronize();
    found.resize(places[rows]);
    posteriors.resize(places[rows]);
    context.download(found.data(), device_columns.data(), found.size() * sizeof(std::int32_t));
    context.download(posteriors.data(), device_values.data(), posteriors.size() * sizeof(float));
    context.synchronize();
    for (std::size_t i = 0; i < rows; ++i) {
      const auto first = static_cast<std::ptrdiff_t>(places[i]);
      const auto last = static_cast<std::ptrdiff_t>(places[i + 1]);
      Buffer<std::int32_t>& row_columns = columns[dense_rows[i]];
      Buffer<float>& row_values = values[dense_rows[i]];
      row_columns.insert(row_columns.end(), found.begin() + first, found.begin() + last);
      row_values.insert(row_values.end(), posteriors.begin() + first, posteriors.begin() + last);
    }
  });
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
