#pragma once
// One prototype head: state, and the training step written once in terms of its parts (prepare,
// seed, filter, solve, backward, update).

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "cpu/posterior.h"
#include "head/class_means.h"
#include "head/prototype_state.h"
#include "head/solved_rows.h"

namespace alphamargin {

struct HeadOutputs {
  float* losses;
  float* grad_embeddings;  // may be nullptr
  std::int32_t* support_size;
  std::uint8_t* target_active;
};

struct HeadStats {
  std::size_t survivors = 0;
  std::size_t support = 0;
  std::size_t overflow_rows = 0;
  std::size_t zero_loss_rows = 0;
  std::size_t touched_prototypes = 0;
  std::size_t scratch_bytes = 0;
};

class PrototypeHead {
 public:
  // Allocates at once; random prototypes are filled in by the first call that needs them, off the
  // JavaScript thread.
  PrototypeHead(std::shared_ptr<Runtime> runtime, std::size_t identities, std::size_t dim,
                std::uint64_t seed, const float* reference, std::size_t scratch_budget);

  std::size_t identities() const { return identities_; }
  std::size_t dim() const { return dim_; }

  HeadStats step(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                 const Optimizer& optimizer, const HeadOutputs& outputs,
                 const Cancellation& cancellation);
  HeadStats evaluate(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                     const HeadOutputs& outputs, const Cancellation& cancellation);
  SparseRows posterior(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                       const Cancellation& cancellation);
  void nearest(const RealMatrix& queries, std::size_t k, std::int32_t* identities, float* cosines,
               const Cancellation& cancellation);

  void accumulate_means(const RealMatrix& embeddings, const std::int32_t* labels,
                        const std::uint8_t* selected);
  std::size_t apply_means();
  void discard_means();

  void read_rows(StateArray array, std::size_t first, std::size_t count, float* out);
  void write_rows(StateArray array, std::size_t first, std::size_t count, const float* values);
  void set_prototypes(const std::int32_t* identities, std::size_t count, const float* values);
  bool has_state(StateArray array);

  struct Memory {
    std::size_t prototypes;
    std::size_t optimizer;
    std::size_t scratch_peak;
  };
  // Reads counters only, so it never waits for a running call.
  Memory memory() const;

  // Frees everything; later calls fail with ERR_DISPOSED. Waits for a running call.
  void dispose();

 private:
  // Locks, refuses a disposed head, fills in random prototypes on first use.
  std::unique_lock<std::mutex> enter();
  HeadInputs make_inputs(MemoryAccount& scratch, const PrototypeView& prototypes,
                         const Embeddings& batch, const std::int32_t* labels, const Loss& loss,
                         const Cancellation& cancellation) const;
  HeadStats run(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                const Optimizer* optimizer, const HeadOutputs& outputs,
                const Cancellation& cancellation);

  std::shared_ptr<Runtime> runtime_;
  std::size_t identities_;
  std::size_t dim_;
  std::uint64_t seed_;
  std::size_t scratch_budget_;
  std::mutex mutex_;
  bool filled_ = false;
  std::atomic<std::size_t> prototype_bytes_{0};
  std::atomic<std::size_t> optimizer_bytes_{0};
  std::atomic<std::size_t> scratch_peak_{0};
  std::optional<PrototypeState> state_;
  Buffer<float> reference_;
  std::optional<ClassMeans> means_;
};

}  // namespace alphamargin
