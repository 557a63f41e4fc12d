// The prototype head on the device: a call's order of parts, as in head/prototype_head.cc.
//
//   forward pass → row states to the host → check_update → backward and update
//
// Everything runs in order on the head's own stream; the host waits where it decides something or
// takes a result. Checks and allocations come before the first write to the head's state.
//
// Class means of the re-initialisation are summed on the host, by the code of the CPU: in the order
// of the samples in float64, rows only for classes seen, so the values are the CPU's and the memory
// is bounded by the caller's choice of identities. A pass reads each sample once; the host keeps
// up.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "cuda/head/device_head.h"
#include "cuda/head/device_state.h"
#include "cuda/head/filter.h"
#include "cuda/head/forward_pass.h"
#include "cuda/head/head_backward.h"
#include "cuda/head/nearest.h"
#include "cuda/head/shadow.cuh"
#include "cuda/transfer.h"
#include "head/class_means.h"
#include "head/posterior_rows.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

// Largest Σ_i |g_ij| any class can have, for check_update.
double largest_coefficient(const Loss& loss, const std::vector<RowState>& states) {
  double largest = 1;
  for (const RowState& row : states) {
    largest = std::max(largest, std::fabs(row.target.derivative));
  }
  return loss.scale * largest;
}

// Fills in the rows of the outputs and their statistics.
HeadStats report(const ForwardPass& pass, const Loss& loss, const HeadOutputs& outputs) {
  HeadStats stats;
  for (std::size_t row = 0; row < pass.states().size(); ++row) {
    const RowState& state = pass.states()[row];
    outputs.losses[row] = static_cast<float>(state.loss);
    outputs.support_size[row] = static_cast<std::int32_t>(state.support);
    outputs.target_active[row] = state.own > 0 ? 1 : 0;
    if (outputs.grad_margins != nullptr) {
      outputs.grad_margins[row] =
          state.ignored != 0
              ? 0.0f
              : static_cast<float>(margin_gradient(loss.of_row(row), state.label_cosine,
                                                   state.target.measure, state.others, state.pull) /
                                   static_cast<double>(pass.call().counted));
    }
    stats.support += static_cast<std::size_t>(state.support);
    stats.zero_loss_rows += state.pull != 0 || state.ignored != 0 ? 0 : 1;
  }
  stats.survivors = pass.supports().survivors;
  stats.overflow_rows = pass.overflow_rows();
  return stats;
}

// ∂embeddings (when not nullptr) and, with an optimizer, the update. `touched`, how many prototypes
// were, is filled in by the next synchronisation.
void backward(const ForwardPass& pass, float* grad_embeddings, const Optimizer* optimizer,
              std::uint32_t& touched) {
  const HeadCall& call = pass.call();
  if (grad_embeddings == nullptr && optimizer == nullptr) return;
  // First what keeps the device busy while the host allocates for the rest.
  if (grad_embeddings != nullptr && pass.dense_rows().size() < call.batch.rows) {
    sparse_embedding_gradients(call, pass.supports(), grad_embeddings);
  }
  SortedPairs pairs;
  if (optimizer != nullptr) {
    pairs = sort_pairs_by_class(call, pass.supports(), pass.states(), pass.counts());
  }
  if (!pass.dense_rows().empty()) {
    dense_backward(call, pass.dense_rows(), pass.supports(), pairs, grad_embeddings, optimizer,
                   touched);
  } else if (optimizer != nullptr) {
    update_sparse(call, pass.supports(), pairs, *optimizer);
    pairs.segments.download(&touched);
  }
}

class DeviceHead : public Head {
 public:
  // Allocates at once; random prototypes are filled in by the first call that needs them.
  DeviceHead(std::shared_ptr<Runtime> runtime, std::shared_ptr<DevicePool> pool,
             const HeadSettings& settings)
      : runtime_(std::move(runtime)),
        pool_(std::move(pool)),
        identities_(settings.identities),
        dim_(settings.dim),
        sub_centres_(settings.sub_centres),
        seed_(settings.seed),
        scratch_budget_(settings.scratch_budget),
        fast_(settings.fast),
        context_(std::make_unique<DeviceContext>(*pool_)) {
    chosen_filter(*context_, settings.filter, dim_);
    state_.emplace(*context_, pool_->account(), rows(), dim_, sub_centres_, settings.reference,
                   settings.filter);
    prototype_bytes_ = state_->prototype_bytes();
  }
  ~DeviceHead() override { dispose(); }

  std::size_t identities() const override { return identities_; }
  std::size_t rows() const override { return identities_ * sub_centres_; }
  std::size_t dim() const override { return dim_; }

  HeadStats step(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                 const Optimizer& optimizer, const HeadOutputs& outputs,
                 const Cancellation& cancellation) override {
    return run(embeddings, labels, loss, &optimizer, outputs, cancellation);
  }
  HeadStats evaluate(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                     const HeadOutputs& outputs, const Cancellation& cancellation) override {
    return run(embeddings, labels, loss, nullptr, outputs, cancellation);
  }
  SparseRows posterior(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                       const Cancellation& cancellation) override;
  void nearest(const RealMatrix& queries, std::size_t k, std::int32_t* identities, float* cosines,
               const Cancellation& cancellation) override;

  void accumulate_means(const RealMatrix& embeddings, const std::int32_t* labels,
                        const std::uint8_t* selected) override;
  std::size_t apply_means() override;
  void discard_means() override {
    const auto lock = enter();
    means_.reset();
  }

  void read_rows(StateArray array, std::size_t first, std::size_t count, float* out) override {
    const auto lock = enter();
    state_->read(array, first, count, out);
  }
  void write_rows(StateArray array, std::size_t first, std::size_t count,
                  const float* values) override {
    const auto lock = enter();
    const StreamDrain drain(*context_);
    state_->write(array, first, count, values);
    if (array == StateArray::kPrototypes) recent_.clear();
    optimizer_bytes_ = state_->optimizer_bytes();
  }
  void set_prototypes(const std::int32_t* identities, std::size_t count,
                      const float* values) override {
    const auto lock = enter();
    const StreamDrain drain(*context_);
    state_->reset_rows(identities, count, values);
    recent_.clear();
  }
  bool has_state(StateArray array) override {
    const std::lock_guard lock(mutex_);
    return state_ && state_->has(array);
  }

  Memory memory() const override { return {prototype_bytes_, optimizer_bytes_, scratch_peak_}; }
  void dispose() override;

 private:
  std::unique_lock<std::mutex> enter();
  HeadView view() { return {*context_, state_->arrays(), scratch_budget_, fast_, &recent_}; }
  HeadStats run(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                const Optimizer* optimizer, const HeadOutputs& outputs,
                const Cancellation& cancellation);
  std::size_t moved_bytes(const HeadStats& stats, const Loss& loss, bool has_dense_rows,
                          const Optimizer* optimizer) const;

  std::shared_ptr<Runtime> runtime_;
  std::shared_ptr<DevicePool> pool_;
  std::size_t identities_;
  std::size_t dim_;
  std::size_t sub_centres_;
  std::uint64_t seed_;
  ScratchBudget scratch_budget_;
  bool fast_;
  std::mutex mutex_;
  bool filled_ = false;
  std::atomic<std::size_t> prototype_bytes_{0};
  std::atomic<std::size_t> optimizer_bytes_{0};
  std::atomic<std::size_t> scratch_peak_{0};
  std::unique_ptr<DeviceContext> context_;
  std::optional<DeviceState> state_;
  std::optional<ClassMeans> means_;
  RecentThresholds recent_;  // changes what calls cost, never what they return
};

// Locks, refuses a disposed head, makes the device current, fills in random prototypes on first
// use.
std::unique_lock<std::mutex> DeviceHead::enter() {
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) {
    throw Failure(FailureCode::kBusy, "another call on this head is still running");
  }
  if (!state_) throw Failure(FailureCode::kDisposed, "the head was disposed");
  pool_->activate();
  if (!filled_) {
    state_->fill_random(seed_);
    filled_ = true;
  }
  return lock;
}

// What a call reads and writes of shadow, prototypes and optimiser state when nothing of it stays
// in a cache: one pass of the filter, a row for each class of a support in rescoring (unless the
// head is fast) and again in ∂x, two passes over all classes where rows are dense, and the rows
// that are updated.
std::size_t DeviceHead::moved_bytes(const HeadStats& stats, const Loss& loss, bool has_dense_rows,
                                    const Optimizer* optimizer) const {
  const std::size_t row = dim_ * sizeof(float);
  const std::size_t filter_row = state_->filter_row_bytes();
  std::size_t bytes = 0;
  if (!loss.order.is_softmax()) {
    bytes += rows() * filter_row + (fast_ ? 1 : 2) * stats.support * row;
  }
  if (loss.top_penalty > 0) bytes += rows() * filter_row;
  if (has_dense_rows) bytes += 2 * rows() * row;
  if (optimizer != nullptr) {
    const bool has_momentum = optimizer->kind == OptimizerKind::kSgd && optimizer->momentum > 0;
    bytes += stats.touched_prototypes * ((has_momentum ? 4 : 2) * row + state_->shadow_row_bytes());
  }
  return bytes;
}

HeadStats DeviceHead::run(const RealMatrix& embeddings, const std::int32_t* labels,
                          const Loss& loss, const Optimizer* optimizer, const HeadOutputs& outputs,
                          const Cancellation& cancellation) {
  const auto lock = enter();
  DeviceState::NormRangeQuery norms;
  std::uint32_t touched = 0;
  const StreamDrain drain(*context_);
  MemoryAccount scratch(&pool_->account());
  HeadStats stats;
  if (optimizer != nullptr) state_->ask_norm_range(norms);
  {
    ForwardPass pass(view(), scratch, embeddings, labels, loss, cancellation);
    stats = report(pass, loss, outputs);
    const DeviceOutput gradient(*context_, scratch, outputs.grad_embeddings,
                                embeddings.rows() * dim_);
    double momentum_bound = 0;
    if (optimizer != nullptr) {
      momentum_bound =
          state_->check_update(*optimizer, largest_coefficient(loss, pass.states()), norms.found);
      state_->ensure_optimizer(*optimizer);
      optimizer_bytes_ = state_->optimizer_bytes();
      pass.set_prototypes(state_->arrays());
    }
    backward(pass, gradient.data(), optimizer, touched);
    if (optimizer != nullptr) {
      state_->end_update(*optimizer, momentum_bound);
      optimizer_bytes_ = state_->optimizer_bytes();
    }
    gradient.deliver();
    context_->synchronize();
    stats.touched_prototypes = touched;
    stats.moved_bytes = moved_bytes(stats, loss, !pass.dense_rows().empty(), optimizer);
  }
  stats.scratch_bytes = scratch.peak();
  scratch_peak_ = std::max(scratch_peak_.load(), scratch.peak());
  return stats;
}

SparseRows DeviceHead::posterior(const RealMatrix& embeddings, const std::int32_t* labels,
                                 const Loss& loss, const Cancellation& cancellation) {
  const auto lock = enter();
  const StreamDrain drain(*context_);
  MemoryAccount& host = runtime_->memory;
  MemoryAccount scratch(&pool_->account());
  const ForwardPass pass(view(), scratch, embeddings, labels, loss, cancellation);
  const Supports& supports = pass.supports();
  auto offsets = make_buffer<std::uint64_t>(host, supports.offsets.size());
  auto identities = make_buffer<std::int32_t>(host, supports.identities.size());
  auto posteriors = make_buffer<double>(host, supports.posteriors.size());
  {
    const StreamDrain downloads(*context_);
    supports.offsets.download(offsets.data());
    supports.identities.download(identities.data());
    supports.posteriors.download(posteriors.data());
    context_->synchronize();
  }
  const std::size_t rows = embeddings.rows();
  std::vector<Buffer<std::int32_t>> columns(rows, make_buffer<std::int32_t>(host));
  std::vector<Buffer<float>> values(rows, make_buffer<float>(host));
  for (std::size_t row = 0; row < rows; ++row) {
    const RowState& state = pass.states()[row];
    if (state.dense != 0) continue;
    const std::size_t first = offsets[row];
    sparse_posterior_row(
        pass.counts()[row],
        [&](std::size_t j) {
          return identities[first + j] / static_cast<std::int32_t>(sub_centres_);
        },
        [&](std::size_t j) { return posteriors[first + j]; }, state.label, state.own, columns[row],
        values[row]);
  }
  if (!pass.dense_rows().empty()) {
    dense_posterior_rows(pass.call(), pass.dense_rows(), columns, values);
  }
  return join_rows(host, columns, values);
}

void DeviceHead::nearest(const RealMatrix& queries, std::size_t k, std::int32_t* identities,
                         float* cosines, const Cancellation& cancellation) {
  const auto lock = enter();
  if (queries.rows() == 0) return;
  const StreamDrain drain(*context_);
  MemoryAccount scratch(&pool_->account());
  PreparedBatch batch(*context_, scratch, queries, state_->format());
  batch.check("queries");
  ALPHAMARGIN_DEVICE_NAMESPACE::nearest(*context_, scratch, state_->arrays(), batch.arrays(), k,
                                        identities, cosines, cancellation);
}

void DeviceHead::accumulate_means(const RealMatrix& embeddings, const std::int32_t* labels,
                                  const std::uint8_t* selected) {
  const auto lock = enter();
  count_rows(labels, embeddings.rows(), identities_);
  auto copy =
      make_buffer<unsigned char>(runtime_->memory, embeddings.on_device() ? embeddings.bytes() : 0);
  RealMatrix rows = embeddings;
  if (embeddings.on_device()) {
    context_->download(copy.data(), embeddings.data(), embeddings.bytes());
    context_->synchronize();
    rows = embeddings.is_half()
               ? RealMatrix(reinterpret_cast<const std::uint16_t*>(copy.data()), rows.rows(), dim_)
               : RealMatrix(reinterpret_cast<const float*>(copy.data()), rows.rows(), dim_);
  }
  const Embeddings batch =
      prepare_embeddings(*runtime_, runtime_->memory, rows, "embeddings", labels);
  if (!means_) means_.emplace(runtime_->memory, dim_);
  if (sub_centres_ == 1) {
    means_->add(batch, labels, selected);
    return;
  }
  // A sample counts for the sub-centre it is nearest to.
  const StreamDrain drain(*context_);
  MemoryAccount scratch(&pool_->account());
  const PreparedBatch prepared(*context_, scratch, embeddings, state_->format(), labels);
  std::vector<std::int32_t> nearest =
      nearest_sub_centres(*context_, scratch, state_->arrays(), prepared);
  for (std::size_t row = 0; row < nearest.size(); ++row) {
    if (nearest[row] != kIgnoredLabel && selected != nullptr && selected[labels[row]] == 0) {
      nearest[row] = kIgnoredLabel;
    }
  }
  means_->add(batch, nearest.data(), nullptr);
}

std::size_t DeviceHead::apply_means() {
  const auto lock = enter();
  auto identities = make_buffer<std::int32_t>(runtime_->memory);
  auto values = make_buffer<float>(runtime_->memory);
  if (means_) {
    means_->for_each([&](std::int32_t identity, const float* row) {
      identities.push_back(identity);
      values.insert(values.end(), row, row + dim_);
    });
  }
  if (!identities.empty()) {
    state_->reset_rows(identities.data(), identities.size(), values.data());
    recent_.clear();
  }
  means_.reset();
  return identities.size();
}

void DeviceHead::dispose() {
  const std::lock_guard lock(mutex_);
  try {
    pool_->activate();
  } catch (const Failure&) {
    // A device that has failed still gives up what is held of it.
  }
  means_.reset();
  state_.reset();
  context_.reset();
  prototype_bytes_ = optimizer_bytes_ = 0;
}

}  // namespace

std::shared_ptr<Head> make_device_head(std::shared_ptr<Runtime> runtime,
                                       std::shared_ptr<DevicePool> pool,
                                       const HeadSettings& settings) {
  return std::make_shared<DeviceHead>(std::move(runtime), std::move(pool), settings);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
