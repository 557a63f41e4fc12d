// The state of the head on the device: random prototypes, rows in and out, the range of the norms.
//
// Shapes: prototypes [C, D], norms [C], shadow [C, padded D], momentum [C, D], accumulator [C].
// One block owns one row. Norms are float64 in the CPU's order of summation (exact_dot.cuh), so a
// head has the same prototypes and norms on every device.

#include <algorithm>
#include <vector>

#include "cuda/head/device_state.h"
#include "cuda/head/head_call.h"
#include "cuda/head/split_rows.h"
#include "cuda/head/update_row.cuh"
#include "cuda/launch.h"
#include "cuda/transfer.h"
#include "math/random_direction.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kRowThreads = 128;
constexpr unsigned kRangeThreads = 256;
constexpr std::size_t kRangeBlocks = 1024;
// Rows that are scattered, split or joined travel through a buffer of about this size.
constexpr std::size_t kTransferBytes = std::size_t{16} << 20;

__global__ void fill_random_kernel(PrototypeArrays prototypes, std::uint64_t key) {
  const std::size_t dim = prototypes.dim;
  for (std::size_t row = blockIdx.x; row < prototypes.identities; row += gridDim.x) {
    const PrototypeRow values(prototypes, row);
    for (std::size_t k = threadIdx.x; k < dim; k += blockDim.x) {
      values.set(k, near_normal(scrambled(key ^ (row * dim + k))));
    }
    double norm = block_norm(values, dim);
    if (norm == 0) {
      norm = 1;
      if (threadIdx.x == 0) values.set(0, 1);
    }
    for (std::size_t k = threadIdx.x; k < dim; k += blockDim.x) {
      values.set(k, static_cast<float>(values[k] / norm));
    }
    refresh_row(prototypes, row);
  }
}

// Row sources[i] of `values` becomes prototype identities[i]; its optimiser state is forgotten.
__global__ void reset_rows_kernel(PrototypeArrays prototypes, const float* values,
                                  const std::int32_t* identities, const std::uint32_t* sources,
                                  std::size_t count) {
  const std::size_t dim = prototypes.dim;
  for (std::size_t i = blockIdx.x; i < count; i += gridDim.x) {
    const auto identity = static_cast<std::size_t>(identities[i]);
    const float* source = values + sources[i] * dim;
    const PrototypeRow row(prototypes, identity);
    for (std::size_t k = threadIdx.x; k < dim; k += blockDim.x) {
      row.set(k, source[k]);
      if (prototypes.momentum != nullptr) prototypes.momentum[identity * dim + k] = 0;
    }
    if (threadIdx.x == 0 && prototypes.accumulator != nullptr) prototypes.accumulator[identity] = 0;
    refresh_row(prototypes, identity);
  }
}

// Non-negative float64 are ordered like their bits, so integer atomics find the range, and in any
// order of the threads the same one. range[0]: the smallest, range[1]: the largest.
__global__ void norm_range_kernel(const double* norms, std::size_t count,
                                  unsigned long long* range) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  unsigned long long smallest = ~0ull;
  unsigned long long largest = 0;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride) {
    const auto bits = static_cast<unsigned long long>(__double_as_longlong(norms[i]));
    smallest = min(smallest, bits);
    largest = max(largest, bits);
  }
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) {
    smallest = min(smallest, __shfl_xor_sync(kFullMask, smallest, lanes));
    largest = max(largest, __shfl_xor_sync(kFullMask, largest, lanes));
  }
  if (threadIdx.x % kWarpSize == 0) {
    atomicMin(range, smallest);
    atomicMax(range + 1, largest);
  }
}

}  // namespace

DeviceState::DeviceState(DeviceContext& context, MemoryAccount& account, std::size_t identities,
                         std::size_t dim, std::size_t sub_centres, const float* reference,
                         FilterTier filter)
    : context_(context),
      account_(account),
      identities_(identities),
      dim_(dim),
      sub_centres_(sub_centres),
      filter_(filter),
      prototypes_(context, account, is_split() ? 0 : identities * dim),
      upper_(context, account, elements_of(ShadowFormat::kUpper)),
      lower_(context, account, is_split() ? identities * dim : 0),
      norms_(context, account, identities),
      shadow_(context, account, elements_of(ShadowFormat::kHalf)),
      int8_shadow_(context, account, elements_of(ShadowFormat::kInt8)),
      scales_(context, account, format() == ShadowFormat::kHalf ? 0 : identities),
      residuals_(context, account, scales_.size()),
      reference_(to_device(context, account, reference, identities / sub_centres)) {
  upper_.fill_bytes(0);  // its padding stays so
  context_.synchronize();
}

void DeviceState::fill_random(std::uint64_t seed) {
  launch(context_, "fill_random_kernel", &fill_random_kernel,
         {blocks_for(identities_, 1), kRowThreads}, arrays(), scrambled(seed));
}

PrototypeArrays DeviceState::arrays() const {
  PrototypeArrays arrays;
  arrays.rows = prototypes_.data();
  arrays.upper = upper_.data();
  arrays.lower = lower_.data();
  arrays.norms = norms_.data();
  arrays.shadow = shadow_.data();
  arrays.int8_shadow = int8_shadow_.data();
  arrays.scales = scales_.data();
  arrays.residuals = residuals_.data();
  arrays.filter = filter_;
  arrays.momentum = momentum_.data();
  arrays.accumulator = accumulator_.data();
  arrays.reference = reference_.data();
  arrays.identities = identities_;
  arrays.sub_centres = sub_centres_;
  arrays.dim = dim_;
  arrays.shadow_dim = padded_dim(dim_, format());
  return arrays;
}

DeviceBuffer<float> DeviceState::zeros(std::size_t count) {
  DeviceBuffer<float> buffer(context_, account_, count);
  buffer.fill_bytes(0);
  return buffer;
}

void DeviceState::ensure_optimizer(const Optimizer& optimizer) {
  if (optimizer.keeps_momentum() && momentum_.empty()) momentum_ = zeros(identities_ * dim_);
  if (optimizer.keeps_accumulators() && accumulator_.empty()) accumulator_ = zeros(identities_);
}

void DeviceState::end_update(const Optimizer& optimizer, double momentum_bound) {
  momentum_bound_ = optimizer.keeps_momentum() ? momentum_bound : 0;
  if (!optimizer.keeps_momentum()) momentum_ = DeviceBuffer<float>();
  if (!optimizer.keeps_accumulators()) accumulator_ = DeviceBuffer<float>();
}

bool DeviceState::has(StateArray array) const {
  switch (array) {
    case StateArray::kPrototypes:
      return true;
    case StateArray::kMomentum:
      return !momentum_.empty();
    case StateArray::kAccumulator:
      return !accumulator_.empty();
  }
  return false;
}

template <class Transfer>
void DeviceState::for_transfers(std::size_t count, const Transfer& transfer) {
  const std::size_t chunk =
      std::clamp<std::size_t>(kTransferBytes / (dim_ * sizeof(float)), 1, count);
  DeviceBuffer<float> rows(context_, account_, chunk * dim_);
  const StreamDrain drain(context_);
  for (std::size_t begin = 0; begin < count; begin += chunk) {
    transfer(begin, std::min(chunk, count - begin), rows.data());
  }
  context_.synchronize();
}

void DeviceState::upload_prototypes(std::size_t first, std::size_t count, const float* values) {
  if (count == 0) return;
  if (is_split()) {
    for_transfers(count, [&](std::size_t begin, std::size_t rows, float* buffer) {
      context_.upload(buffer, values + begin * dim_, rows * dim_ * sizeof(float));
      split_rows(context_, arrays(), first + begin, rows, buffer);
    });
  } else {
    context_.upload(prototypes_.data() + first * dim_, values, count * dim_ * sizeof(float));
  }
  refresh_prototypes(context_, arrays(), first, count);
}

void DeviceState::read(StateArray array, std::size_t first, std::size_t count, float* out) {
  if (count == 0) return;
  if (array == StateArray::kPrototypes && is_split()) {
    for_transfers(count, [&](std::size_t begin, std::size_t rows, float* buffer) {
      join_rows(context_, arrays(), first + begin, rows, buffer);
      context_.download(out + begin * dim_, buffer, rows * dim_ * sizeof(float));
    });
    return;
  }
  const DeviceBuffer<float>& source = array == StateArray::kPrototypes ? prototypes_
                                      : array == StateArray::kMomentum ? momentum_
                                                                       : accumulator_;
  const std::size_t row = width(array);
  context_.download(out, source.data() + first * row, count * row * sizeof(float));
  context_.synchronize();
}

void DeviceState::write(StateArray array, std::size_t first, std::size_t count,
                        const float* values) {
  const std::size_t row = width(array);
  if (array == StateArray::kPrototypes) {
    checked_prototypes(first, count, dim_, values);
    upload_prototypes(first, count, values);
    context_.synchronize();
    return;
  }
  check_optimizer_rows(array, first, count, row, values);
  DeviceBuffer<float>& target = array == StateArray::kMomentum ? momentum_ : accumulator_;
  if (target.empty()) target = zeros(identities_ * row);
  context_.upload(target.data() + first * row, values, count * row * sizeof(float));
  context_.synchronize();
  if (array != StateArray::kMomentum) return;
  momentum_bound_ = std::max(momentum_bound_, largest_norm(count, dim_, values));
}

void DeviceState::ask_norm_range(NormRangeQuery& query) {
  query.range = DeviceBuffer<unsigned long long>(context_, account_, 2);
  unsigned long long* range = query.range.data();
  context_.fill_bytes(range, 0xff, sizeof(unsigned long long));
  context_.fill_bytes(range + 1, 0, sizeof(unsigned long long));
  launch(context_, "norm_range_kernel", &norm_range_kernel,
         {blocks_for(identities_, kRangeThreads, kRangeBlocks), kRangeThreads}, norms_.data(),
         identities_, range);
  static_assert(sizeof(NormRange) == 2 * sizeof(unsigned long long));
  context_.download(&query.found, range, sizeof query.found);
}

double DeviceState::check_update(const Optimizer& optimizer, double largest_coefficient,
                                 const NormRange& norms) const {
  return alphamargin::check_update(optimizer, largest_coefficient, norms, dim_, momentum_bound_);
}

void DeviceState::reset_rows(const std::int32_t* identities, std::size_t count,
                             const float* values) {
  check_replacements(identities, count, values, identities_, dim_);
  if (identities == nullptr) {
    reset_first_rows(count, values);
  } else {
    scatter_rows(identities, count, values);
  }
}

void DeviceState::reset_first_rows(std::size_t count, const float* values) {
  upload_prototypes(0, count, values);
  if (!momentum_.empty()) {
    context_.fill_bytes(momentum_.data(), 0, count * dim_ * sizeof(float));
  }
  if (!accumulator_.empty()) context_.fill_bytes(accumulator_.data(), 0, count * sizeof(float));
  context_.synchronize();
}

void DeviceState::scatter_rows(const std::int32_t* identities, std::size_t count,
                               const float* values) {
  // Blocks run in any order: rows that a later one replaces are left out.
  std::vector<bool> seen(identities_);
  std::vector<std::size_t> kept;
  for (std::size_t i = count; i-- > 0;) {
    const auto identity = static_cast<std::size_t>(identities[i]);
    if (!seen[identity]) kept.push_back(i);
    seen[identity] = true;
  }
  std::reverse(kept.begin(), kept.end());
  std::vector<std::int32_t> targets(kept.size());
  std::vector<std::uint32_t> sources(kept.size());

  const std::size_t chunk =
      std::clamp<std::size_t>(kTransferBytes / (dim_ * sizeof(float)), 1, count);
  DeviceBuffer<float> rows(context_, account_, chunk * dim_);
  DeviceBuffer<std::int32_t> chunk_targets(context_, account_, chunk);
  DeviceBuffer<std::uint32_t> chunk_sources(context_, account_, chunk);
  const StreamDrain drain(context_);
  for (std::size_t begin = 0, place = 0; begin < count; begin += chunk) {
    const std::size_t end = std::min(count, begin + chunk);
    const std::size_t first = place;
    for (; place < kept.size() && kept[place] < end; ++place) {
      targets[place] = identities[kept[place]];
      sources[place] = static_cast<std::uint32_t>(kept[place] - begin);
    }
    const std::size_t moved = place - first;
    context_.upload(rows.data(), values + begin * dim_, (end - begin) * dim_ * sizeof(float));
    context_.upload(chunk_targets.data(), targets.data() + first, moved * sizeof(std::int32_t));
    context_.upload(chunk_sources.data(), sources.data() + first, moved * sizeof(std::uint32_t));
    launch(context_, "reset_rows_kernel", &reset_rows_kernel, {blocks_for(moved, 1), kRowThreads},
           arrays(), rows.data(), chunk_targets.data(), chunk_sources.data(), moved);
  }
  context_.synchronize();
}

std::size_t DeviceState::prototype_bytes() const {
  return prototypes_.bytes() + upper_.bytes() + lower_.bytes() + norms_.bytes() + shadow_.bytes() +
         int8_shadow_.bytes() + scales_.bytes() + residuals_.bytes();
}

std::size_t DeviceState::optimizer_bytes() const {
  return momentum_.bytes() + accumulator_.bytes();
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
