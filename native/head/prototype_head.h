#pragma once
// The prototype head of the CPU: state, and the training step written once in terms of its parts
// (prepare, seed, filter, solve, backward, update).

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "head/class_means.h"
#include "head/head.h"
#include "head/prototype_state.h"
#include "head/solved_rows.h"

namespace alphamargin {

class PrototypeHead : public Head {
 public:
  // Allocates at once; random prototypes are filled in by the first call that needs them, off the
  // JavaScript thread.
  PrototypeHead(std::shared_ptr<Runtime> runtime, const HeadSettings& settings);

  std::size_t identities() const override { return identities_; }
  std::size_t rows() const override { return identities_ * sub_centres_; }
  std::size_t dim() const override { return dim_; }

  HeadStats step(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                 const Optimizer& optimizer, const HeadOutputs& outputs,
                 const Cancellation& cancellation) override;
  HeadStats evaluate(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                     const HeadOutputs& outputs, const Cancellation& cancellation) override;
  SparseRows posterior(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                       const Cancellation& cancellation) override;
  void nearest(const RealMatrix& queries, std::size_t k, std::int32_t* identities, float* cosines,
               const Cancellation& cancellation) override;

  void accumulate_means(const RealMatrix& embeddings, const std::int32_t* labels,
                        const std::uint8_t* selected) override;
  std::size_t apply_means() override;
  void discard_means() override;

  void read_rows(StateArray array, std::size_t first, std::size_t count, float* out) override;
  void write_rows(StateArray array, std::size_t first, std::size_t count,
                  const float* values) override;
  void set_prototypes(const std::int32_t* identities, std::size_t count,
                      const float* values) override;
  bool has_state(StateArray array) override;

  // Reads counters only, so it never waits for a running call.
  Memory memory() const override;

  // Frees everything; later calls fail with ERR_DISPOSED. Waits for a running call.
  void dispose() override;

 private:
  // Locks, refuses a disposed head, fills in random prototypes on first use (`fill`).
  std::unique_lock<std::mutex> enter(bool fill = true);
  // What a call that filters reads.
  PrototypeView filtered_view();
  HeadInputs make_inputs(MemoryAccount& scratch, const PrototypeView& prototypes,
                         const Embeddings& batch, const std::int32_t* labels, std::size_t counted,
                         const Loss& loss, const Cancellation& cancellation);
  HeadStats run(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                const Optimizer* optimizer, const HeadOutputs& outputs,
                const Cancellation& cancellation);

  std::shared_ptr<Runtime> runtime_;
  std::size_t identities_;
  std::size_t dim_;
  std::size_t sub_centres_;
  std::uint64_t seed_;
  ScratchBudget scratch_budget_;
  ShadowKind shadow_;
  std::mutex mutex_;
  bool filled_ = false;
  std::atomic<std::size_t> prototype_bytes_{0};
  std::atomic<std::size_t> optimizer_bytes_{0};
  std::atomic<std::size_t> scratch_peak_{0};
  std::optional<PrototypeState> state_;
  Buffer<float> reference_;
  std::optional<ClassMeans> means_;
  RecentThresholds recent_;  // changes what calls cost, never what they return
};

}  // namespace alphamargin
