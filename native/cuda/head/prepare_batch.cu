// Preparation of a batch and of prototypes: norms, unit rows, low-precision copies, exact target
// cosines.
//
// Shapes: embeddings [B, D]; half a warp owns a row. Accumulation: float64 in the CPU's order
// (exact_dot.cuh), so norms and target cosines have the CPU's bits. Traffic: a row is read from
// memory once and from cache twice.

#include "cpu/embeddings.h"
#include "cuda/head/exact_dot.cuh"
#include "cuda/head/head_call.h"
#include "cuda/head/shadow.cuh"
#include "cuda/head/update_row.cuh"
#include "cuda/launch.h"
#include "cuda/transfer.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 128;
constexpr unsigned kRowsPerBlock = kThreads / kDotLanes;

__global__ void widen_kernel(const __half* source, float* target, std::size_t count) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride) {
    target[i] = __half2float(source[i]);
  }
}

// False for NaN and infinities too; the host looks closer.
__device__ bool is_good(double norm) { return norm >= kSmallestNorm && norm <= kLargestNorm; }

__global__ void prepare_kernel(BatchArrays batch, const std::int32_t* labels, ShadowFormat format,
                               std::uint32_t* first_bad_row) {
  const std::size_t own = std::size_t{blockIdx.x} * kRowsPerBlock + threadIdx.x / kDotLanes;
  // A warp's shuffles need all its lanes: those without a row repeat the last one and write
  // nothing.
  const bool present = own < batch.rows;
  const std::size_t row = present ? own : batch.rows - 1;
  const unsigned lane = threadIdx.x % kDotLanes;
  const float* values = batch.values + row * batch.dim;
  const bool ignored = labels != nullptr && labels[row] == kIgnoredLabel;
  const double norm = sqrt(exact_dot(values, values, batch.dim));
  const bool good = is_good(norm);
  if (present && !good && !ignored && lane == 0)
    atomicMin(first_bad_row, static_cast<std::uint32_t>(row));
  const double inverse = good ? 1 / norm : 0;
  const auto exact = [&](std::size_t k) {
    if (ignored) return k == 0 ? 1.0 : 0.0;
    return good && k < batch.dim ? values[k] * inverse : 0.0;
  };
  double largest = 0;
  if (batch.int8_unit != nullptr) {
    for (std::size_t k = lane; k < batch.dim; k += kDotLanes)
      largest = max(largest, fabs(exact(k)));
    for (int lanes = kDotLanes / 2; lanes > 0; lanes /= 2) {
      largest =
          max(largest, __shfl_xor_sync(kFullMask, largest, lanes, static_cast<int>(kDotLanes)));
    }
  }
  const auto scale = static_cast<float>(largest / kLargestInt8);
  double squares = 0;
  for (std::size_t k = lane; k < batch.shadow_dim; k += kDotLanes) {
    const auto unit = static_cast<float>(exact(k));
    if (present && k < batch.dim) batch.unit[row * batch.dim + k] = unit;
    const std::size_t place = row * batch.shadow_dim + k;
    double residual = 0;
    if (batch.int8_unit != nullptr) {
      const Int8Element element = round_to_int8(exact(k), scale);
      residual = element.residual;
      if (present) batch.int8_unit[place] = element.value;
    } else if (batch.upper_unit != nullptr) {
      const std::uint16_t rounded = upper_half(unit);
      residual = exact(k) - static_cast<double>(bfloat16_value(rounded));
      if (present) batch.upper_unit[place] = rounded;
    } else {
      const __half rounded = __float2half_rn(unit);
      residual = exact(k) - static_cast<double>(__half2float(rounded));
      if (present) batch.half_unit[place] = rounded;
    }
    squares += residual * residual;
  }
  for (int lanes = kDotLanes / 2; lanes > 0; lanes /= 2) {
    squares += __shfl_xor_sync(kFullMask, squares, lanes, static_cast<int>(kDotLanes));
  }
  if (!present || lane != 0) return;
  batch.norms[row] = ignored ? 1 : norm;
  // Rounded up by far more than the sum's own rounding.
  const double residual = sqrt(squares) * (1 + 0x1p-40);
  batch.slack[row] = filter_slack(format, residual, batch.dim);
  if (format == ShadowFormat::kHalf) return;
  batch.scales[row] = format == ShadowFormat::kInt8 ? scale : 1.0f;
  batch.factors[row] = static_cast<float>((1 + residual) * (1 + 0x1p-22));
}

__global__ void refresh_kernel(PrototypeArrays prototypes, std::size_t first, std::size_t count) {
  for (std::size_t i = blockIdx.x; i < count; i += gridDim.x) {
    const std::size_t identity = first + i;
    refresh_row(prototypes, identity);
  }
}

struct SubCentre {
  std::size_t row;  // of the prototypes
  double cosine;    // exact
};

// The sub-centre of a class that a row of the batch is nearest to, the first where several are.
// Called by all lanes of a warp.
__device__ SubCentre best_sub_centre(const PrototypeArrays& prototypes, const BatchArrays& batch,
                                     std::size_t row, std::size_t of_class) {
  const std::size_t first = of_class * prototypes.sub_centres;
  SubCentre best{first, exact_cosine(prototypes, batch, row, first)};
  for (std::size_t own = first + 1; own < first + prototypes.sub_centres; ++own) {
    const double cosine = exact_cosine(prototypes, batch, row, own);
    if (cosine > best.cosine) best = {own, cosine};
  }
  return best;
}

__global__ void sub_centres_kernel(PrototypeArrays prototypes, BatchArrays batch,
                                   const std::int32_t* labels, std::int32_t* nearest) {
  const std::size_t own = std::size_t{blockIdx.x} * kRowsPerBlock + threadIdx.x / kDotLanes;
  const bool present = own < batch.rows;
  const std::size_t row = present ? own : batch.rows - 1;
  const bool ignored = labels[row] == kIgnoredLabel;
  const SubCentre best =
      best_sub_centre(prototypes, batch, row, static_cast<std::size_t>(ignored ? 0 : labels[row]));
  if (!present || threadIdx.x % kDotLanes != 0) return;
  nearest[row] = ignored ? kIgnoredLabel : static_cast<std::int32_t>(best.row);
}

__global__ void start_kernel(PrototypeArrays prototypes, BatchArrays batch,
                             const std::int32_t* labels, DeviceMargin margin, RowState* rows) {
  const std::size_t own = std::size_t{blockIdx.x} * kRowsPerBlock + threadIdx.x / kDotLanes;
  const bool present = own < batch.rows;
  const std::size_t row = present ? own : batch.rows - 1;
  RowState state{};
  state.target = DeviceTarget::none();
  state.label = state.label_row = -1;
  state.exact_from = INFINITY;
  state.ignored = is_good(batch.norms[row]) ? 0 : 1;
  if (labels != nullptr) {
    if (labels[row] == kIgnoredLabel) state.ignored = 1;
    // Lanes of a row that is ignored go along, for the shuffles of the others.
    const auto label = static_cast<std::size_t>(state.ignored != 0 ? 0 : labels[row]);
    const SubCentre best = best_sub_centre(prototypes, batch, row, label);
    if (state.ignored == 0) {
      state.label = labels[row];
      state.label_row = static_cast<std::int64_t>(best.row);
      state.label_cosine = best.cosine;
      state.target = margin.target(row, best.cosine, prototypes.measure(best.row));
    }
  }
  if (present && threadIdx.x % kDotLanes == 0) rows[row] = state;
}

std::size_t elements_of(const RealMatrix& embeddings, ShadowFormat format, ShadowFormat wanted) {
  return format == wanted ? embeddings.rows() * padded_dim(embeddings.columns(), wanted) : 0;
}

}  // namespace

PreparedBatch::PreparedBatch(DeviceContext& context, MemoryAccount& scratch,
                             const RealMatrix& embeddings, ShadowFormat format,
                             const std::int32_t* labels)
    : context_(context),
      input_(embeddings),
      uploaded_(context, scratch, embeddings.on_device() ? 0 : embeddings.bytes()),
      values_(context, scratch,
              embeddings.is_half() ? embeddings.rows() * embeddings.columns() : 0),
      norms_(context, scratch, embeddings.rows()),
      unit_(context, scratch, embeddings.rows() * embeddings.columns()),
      half_unit_(context, scratch, elements_of(embeddings, format, ShadowFormat::kHalf)),
      int8_unit_(context, scratch, elements_of(embeddings, format, ShadowFormat::kInt8)),
      upper_unit_(context, scratch, elements_of(embeddings, format, ShadowFormat::kUpper)),
      scales_(context, scratch, format == ShadowFormat::kHalf ? 0 : embeddings.rows()),
      factors_(context, scratch, scales_.size()),
      slack_(context, scratch, embeddings.rows()),
      labels_(to_device(context, scratch, labels, embeddings.rows())),
      first_bad_row_(context, scratch) {
  const std::size_t rows = embeddings.rows();
  const std::size_t dim = embeddings.columns();
  const void* source = embeddings.data();
  if (!embeddings.on_device()) {
    uploaded_.upload(static_cast<const unsigned char*>(source));
    source = uploaded_.data();
  }
  const float* values = static_cast<const float*>(source);
  if (embeddings.is_half()) {
    launch(context, "widen_kernel", &widen_kernel, {blocks_for(rows * dim, 256, 4096), 256},
           static_cast<const __half*>(source), values_.data(), rows * dim);
    values = values_.data();
  }
  arrays_ = {values,
             norms_.data(),
             unit_.data(),
             half_unit_.data(),
             int8_unit_.data(),
             upper_unit_.data(),
             scales_.data(),
             factors_.data(),
             slack_.data(),
             rows,
             dim,
             padded_dim(dim, format)};
  launch(context, "prepare_kernel", &prepare_kernel,
         {blocks_for(rows, kRowsPerBlock, ~0u), kThreads}, arrays_, labels_.data(), format,
         first_bad_row_.data());
}

BatchArrays PreparedBatch::arrays() const { return arrays_; }

void PreparedBatch::check(const char* argument) {
  ask();
  context_.synchronize();
  throw_if_bad(argument);
}

void PreparedBatch::throw_if_bad(const char* argument) const {
  const std::uint32_t bad = first_bad_row_.value();
  if (bad == FirstBadRow::kNone) return;
  auto row = std::vector<float>(arrays_.dim);
  context_.download(row.data(), arrays_.values + bad * arrays_.dim, arrays_.dim * sizeof(float));
  context_.synchronize();
  checked_norm(argument, bad, row.data(), arrays_.dim);
  throw Failure(FailureCode::kDevice,
                "the device and the host disagree about row " + std::to_string(bad));
}

void refresh_prototypes(DeviceContext& context, const PrototypeArrays& prototypes,
                        std::size_t first, std::size_t count) {
  if (count == 0) return;
  launch(context, "refresh_kernel", &refresh_kernel, {blocks_for(count, 1, 65536), 64}, prototypes,
         first, count);
}

std::vector<std::int32_t> nearest_sub_centres(DeviceContext& context, MemoryAccount& scratch,
                                              const PrototypeArrays& prototypes,
                                              const PreparedBatch& batch) {
  const BatchArrays arrays = batch.arrays();
  std::vector<std::int32_t> found(arrays.rows);
  const StreamDrain drain(context);
  DeviceBuffer<std::int32_t> nearest(context, scratch, arrays.rows);
  launch(context, "sub_centres_kernel", &sub_centres_kernel,
         {blocks_for(arrays.rows, kRowsPerBlock, ~0u), kThreads}, prototypes, arrays,
         batch.labels(), nearest.data());
  nearest.download(found.data());
  context.synchronize();
  return found;
}

void start_rows(const HeadCall& call, const Loss& loss, const std::int32_t* labels) {
  const std::size_t rows = call.batch.rows;
  const DeviceBuffer<float> margins =
      to_device(call.context, call.scratch, labels == nullptr ? nullptr : loss.row_margins, rows);
  launch(call.context, "start_kernel", &start_kernel,
         {blocks_for(rows, kRowsPerBlock, ~0u), kThreads}, call.prototypes, call.batch, labels,
         DeviceMargin::of(loss, margins.data()), call.rows);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
