#include "head/prototype_head.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "head/dense_rows.h"
#include "head/head_gradient.h"
#include "head/nearest.h"
#include "head/posterior_rows.h"

namespace alphamargin {
namespace {

constexpr std::size_t kScratchToReturn = std::size_t{1} << 24;

// Softmax posteriors, and those of overflowed rows, chunk by chunk.
void dense_posterior_rows(const HeadInputs& inputs, const SolvedBatch& solved,
                          std::vector<Buffer<std::int32_t>>& columns,
                          std::vector<Buffer<float>>& values) {
  const DenseRows rows(inputs, solved);
  if (rows.empty()) return;
  rows.for_chunks(
      inputs, [&](std::size_t i, const float* cosines, std::size_t begin, std::size_t count) {
        const std::size_t index = rows.index(i);
        const SolvedRow& row = solved.rows[index];
        visit_posterior(inputs.loss, row.solution, [&](const auto& posterior_of) {
          for (std::size_t j = 0; j < count; ++j) {
            const bool is_target =
                row.target.present && begin + j == static_cast<std::size_t>(row.label_row);
            const auto p = static_cast<float>(
                is_target ? row.own : posterior_of(cosines[j], inputs.measure(begin + j)));
            if (!(p > 0)) continue;
            columns[index].push_back(
                static_cast<std::int32_t>((begin + j) / inputs.prototypes.sub_centres));
            values[index].push_back(p);
          }
        });
      });
}

}  // namespace

PrototypeHead::PrototypeHead(std::shared_ptr<Runtime> runtime, const HeadSettings& settings)
    : runtime_(std::move(runtime)),
      identities_(settings.identities),
      dim_(settings.dim),
      sub_centres_(settings.sub_centres),
      seed_(settings.seed),
      scratch_budget_(settings.scratch_budget),
      shadow_(settings.dim > kWidestShadow ? ShadowKind::kNone : settings.shadow),
      reference_(make_buffer<float>(runtime_->memory,
                                    settings.reference == nullptr ? 0 : settings.identities)) {
  state_.emplace(runtime_->memory, rows(), dim_, sub_centres_);
  prototype_bytes_ = state_->prototype_bytes();
  if (settings.reference != nullptr) {
    std::copy_n(settings.reference, identities_, reference_.data());
  }
}

std::unique_lock<std::mutex> PrototypeHead::enter(bool fill) {
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) {
    throw Failure(FailureCode::kBusy, "another call on this head is still running");
  }
  if (!state_) throw Failure(FailureCode::kDisposed, "the head was disposed");
  if (fill && !filled_) {
    state_->fill_random(*runtime_, seed_);
    filled_ = true;
  }
  return lock;
}

PrototypeView PrototypeHead::filtered_view() {
  if (shadow_ == ShadowKind::kBytes) state_->build_shadow(*runtime_);
  prototype_bytes_ = state_->prototype_bytes();
  return state_->view();
}

HeadInputs PrototypeHead::make_inputs(MemoryAccount& scratch, const PrototypeView& prototypes,
                                      const Embeddings& batch, const std::int32_t* labels,
                                      std::size_t counted, const Loss& loss,
                                      const Cancellation& cancellation) {
  return {*runtime_,
          scratch,
          prototypes,
          reference_.empty() ? nullptr : reference_.data(),
          batch,
          labels,
          counted,
          loss,
          scratch_budget_.of(batch.rows),
          cancellation,
          &recent_};
}

HeadStats PrototypeHead::run(const RealMatrix& embeddings, const std::int32_t* labels,
                             const Loss& loss, const Optimizer* optimizer,
                             const HeadOutputs& outputs, const Cancellation& cancellation) {
  const auto lock = enter();
  MemoryAccount scratch(&runtime_->memory);
  HeadStats stats;
  {
    const std::size_t counted = count_rows(labels, embeddings.rows(), identities_);
    const Embeddings batch =
        prepare_embeddings(*runtime_, scratch, embeddings, "embeddings", labels);
    // Softmax reads the prototypes themselves.
    const PrototypeView prototypes = loss.order.is_softmax() ? state_->view() : filtered_view();
    const HeadInputs inputs =
        make_inputs(scratch, prototypes, batch, labels, counted, loss, cancellation);
    const SolvedBatch solved = solve_rows(inputs, outputs.grad_embeddings.data);
    cancellation.check();

    for (std::size_t row = 0; row < batch.rows; ++row) {
      const SolvedRow& state = solved.rows[row];
      outputs.losses[row] = static_cast<float>(state.loss);
      outputs.support_size[row] = static_cast<std::int32_t>(state.support);
      outputs.target_active[row] = state.own > 0 ? 1 : 0;
      if (outputs.grad_margins != nullptr) {
        outputs.grad_margins[row] =
            state.ignored ? 0.0f
                          : static_cast<float>(margin_gradient(loss.of_row(row), state.label_cosine,
                                                               state.target.measure, state.others,
                                                               state.pull) /
                                               static_cast<double>(counted));
      }
      stats.support += static_cast<std::size_t>(state.support);
      stats.zero_loss_rows += state.pull != 0 || state.ignored ? 0 : 1;
    }
    stats.survivors = solved.survivors;
    stats.overflow_rows = solved.overflow_rows;

    BackwardStats done;
    if (optimizer == nullptr) {
      done = backward(inputs, solved, outputs.grad_embeddings.data, nullptr, Optimizer{});
    } else {
      const double coefficient = largest_coefficient(inputs, solved);
      const double momentum_bound = state_->check_update(*runtime_, *optimizer, coefficient);
      state_->ensure_optimizer(*optimizer);
      done = backward(inputs, solved, outputs.grad_embeddings.data, &*state_, *optimizer);
      state_->end_update(*optimizer, momentum_bound);
    }
    stats.touched_prototypes = done.touched;
    stats.moved_bytes = solved.bytes_read + done.moved_bytes;
  }
  stats.scratch_bytes = scratch.peak();
  // A call that took this much runs so long that giving it back costs nothing.
  if (stats.scratch_bytes >= kScratchToReturn) return_freed_memory();
  scratch_peak_ = std::max(scratch_peak_.load(), scratch.peak());
  optimizer_bytes_ = state_->optimizer_bytes();
  return stats;
}

HeadStats PrototypeHead::step(const RealMatrix& embeddings, const std::int32_t* labels,
                              const Loss& loss, const Optimizer& optimizer,
                              const HeadOutputs& outputs, const Cancellation& cancellation) {
  return run(embeddings, labels, loss, &optimizer, outputs, cancellation);
}

HeadStats PrototypeHead::evaluate(const RealMatrix& embeddings, const std::int32_t* labels,
                                  const Loss& loss, const HeadOutputs& outputs,
                                  const Cancellation& cancellation) {
  return run(embeddings, labels, loss, nullptr, outputs, cancellation);
}

SparseRows PrototypeHead::posterior(const RealMatrix& embeddings, const std::int32_t* labels,
                                    const Loss& loss, const Cancellation& cancellation) {
  const auto lock = enter();
  MemoryAccount& scratch = runtime_->memory;
  const std::size_t counted = count_rows(labels, embeddings.rows(), identities_);
  const Embeddings batch = prepare_embeddings(*runtime_, scratch, embeddings, "embeddings", labels);
  const PrototypeView prototypes = loss.order.is_softmax() ? state_->view() : filtered_view();
  const HeadInputs inputs =
      make_inputs(scratch, prototypes, batch, labels, counted, loss, cancellation);
  const SolvedBatch solved = solve_rows(inputs, nullptr);
  std::vector<Buffer<std::int32_t>> columns(batch.rows, make_buffer<std::int32_t>(scratch));
  std::vector<Buffer<float>> values(batch.rows, make_buffer<float>(scratch));
  for (std::size_t row = 0; row < batch.rows; ++row) {
    const SolvedRow& state = solved.rows[row];
    if (state.dense) continue;
    const Buffer<SupportEntry>& entries = solved.entries[row];
    sparse_posterior_row(
        entries.size(),
        [&](std::size_t j) {
          return entries[j].identity / static_cast<std::int32_t>(sub_centres_);
        },
        [&](std::size_t j) { return entries[j].posterior; }, state.label, state.own, columns[row],
        values[row]);
  }
  dense_posterior_rows(inputs, solved, columns, values);
  return join_rows(scratch, columns, values);
}

void PrototypeHead::nearest(const RealMatrix& queries, std::size_t k, std::int32_t* identities,
                            float* cosines, const Cancellation& cancellation) {
  const auto lock = enter();
  MemoryAccount scratch(&runtime_->memory);
  const Embeddings batch = prepare_embeddings(*runtime_, scratch, queries, "queries");
  alphamargin::nearest(*runtime_, scratch, filtered_view(), batch, k, identities, cosines,
                       cancellation);
}

void PrototypeHead::accumulate_means(const RealMatrix& embeddings, const std::int32_t* labels,
                                     const std::uint8_t* selected) {
  const auto lock = enter();
  count_rows(labels, embeddings.rows(), identities_);
  const Embeddings batch =
      prepare_embeddings(*runtime_, runtime_->memory, embeddings, "embeddings", labels);
  if (!means_) means_.emplace(runtime_->memory, dim_);
  if (sub_centres_ == 1) {
    means_->add(batch, labels, selected);
    return;
  }
  // A sample counts for the sub-centre it is nearest to.
  std::vector<std::int32_t> winners(batch.rows, kIgnoredLabel);
  const PrototypeView prototypes = state_->view();
  runtime_->pool.run(batch.rows, [&](std::size_t row) {
    const std::int32_t label = labels[row];
    if (label == kIgnoredLabel || (selected != nullptr && selected[label] == 0)) return;
    const std::size_t first = static_cast<std::size_t>(label) * sub_centres_;
    double best = -INFINITY;
    for (std::size_t k = 0; k < sub_centres_; ++k) {
      const double cosine = exact_cosine(prototypes, batch, row, first + k);
      if (!(cosine > best)) continue;
      best = cosine;
      winners[row] = static_cast<std::int32_t>(first + k);
    }
  });
  means_->add(batch, winners.data(), nullptr);
}

std::size_t PrototypeHead::apply_means() {
  const auto lock = enter();
  std::size_t count = 0;
  if (means_) {
    means_->for_each([&](std::int32_t identity, const float* row) {
      state_->reset_row(static_cast<std::size_t>(identity), row);
      ++count;
    });
  }
  means_.reset();
  if (count > 0) recent_.clear();
  return count;
}

void PrototypeHead::discard_means() {
  const auto lock = enter();
  means_.reset();
}

void PrototypeHead::read_rows(StateArray array, std::size_t first, std::size_t count, float* out) {
  const auto lock = enter();
  state_->read(array, first, count, out);
}

void PrototypeHead::write_rows(StateArray array, std::size_t first, std::size_t count,
                               const float* values) {
  const auto lock = enter();
  state_->write(array, first, count, values);
  if (array == StateArray::kPrototypes) recent_.clear();
  optimizer_bytes_ = state_->optimizer_bytes();
}

void PrototypeHead::set_prototypes(const std::int32_t* identities, std::size_t count,
                                   const float* values) {
  // Whoever brings all prototypes needs no random ones first.
  const auto lock = enter(identities != nullptr);
  state_->reset_rows(identities, count, values);
  recent_.clear();
  filled_ = true;
}

bool PrototypeHead::has_state(StateArray array) {
  const std::lock_guard lock(mutex_);
  return state_ && state_->has(array);
}

Head::Memory PrototypeHead::memory() const {
  return {prototype_bytes_, optimizer_bytes_, scratch_peak_};
}

void PrototypeHead::dispose() {
  const std::lock_guard lock(mutex_);
  state_.reset();
  means_.reset();
  prototype_bytes_ = optimizer_bytes_ = 0;
  reference_ = make_buffer<float>(runtime_->memory);
  return_freed_memory();
}

}  // namespace alphamargin
