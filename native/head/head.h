#pragma once
// The head as the binding sees it, whatever device it lives on.

#include <algorithm>
#include <cstdint>
#include <string>

#include "common/failure.h"
#include "common/real_matrix.h"
#include "cpu/posterior.h"
#include "head/optimizer.h"
#include "math/margin.h"

namespace alphamargin {

// What the filter reads on the CPU (a head on a GPU has a shadow always, see FilterTier).
enum class ShadowKind { kBytes, kNone };

// Which kernels filter on a GPU (cuda/head/filter.h). kAuto chooses by device; those of int8 read
// an int8 shadow in place of the float16 one, of split prototypes the upper halves themselves.
enum class FilterTier : std::uint64_t {
  kAuto,
  kSimt,
  kMma,
  kMmaInt8,
  kMmaSplit,
  kWgmma,
  kWgmmaInt8,
  kWgmmaSplit
};

// Bytes that the rows of a call may keep: so many for each, and so many at least.
struct ScratchBudget {
  std::size_t least = 0;
  std::size_t of_row = 0;

  std::size_t of(std::size_t rows) const { return std::max(least, of_row * rows); }
};

struct HeadSettings {
  std::size_t identities = 0;
  std::size_t dim = 0;
  std::uint64_t seed = 0;
  const float* reference = nullptr;  // [C] or nullptr; copied
  ScratchBudget scratch_budget;
  ShadowKind shadow = ShadowKind::kBytes;
  std::size_t sub_centres = 1;            // prototypes of each identity
  FilterTier filter = FilterTier::kAuto;  // on a GPU
  bool fast = false;                      // on a GPU: keep the filter's cosines (float16 filters)
};

struct HeadOutputs {
  float* losses;
  RealOutput grad_embeddings;  // data may be nullptr
  std::int32_t* support_size;
  std::uint8_t* target_active;
  float* grad_margins = nullptr;  // [B] of the mean loss with respect to the rows' own margins
};

struct HeadStats {
  std::size_t survivors = 0;
  std::size_t support = 0;
  std::size_t overflow_rows = 0;
  std::size_t zero_loss_rows = 0;
  std::size_t touched_prototypes = 0;
  std::size_t scratch_bytes = 0;
  std::size_t moved_bytes = 0;  // of shadow, prototypes and optimiser state, read and written
};

// Calls must not overlap; one that does fails with ERR_BUSY. After dispose() every call but
// memory() fails with ERR_DISPOSED.
class Head {
 public:
  virtual ~Head() = default;

  virtual std::size_t identities() const = 0;
  // Rows of the state: identities times sub-centres.
  virtual std::size_t rows() const { return identities(); }
  virtual std::size_t dim() const = 0;

  virtual HeadStats step(const RealMatrix& embeddings, const std::int32_t* labels, const Loss& loss,
                         const Optimizer& optimizer, const HeadOutputs& outputs,
                         const Cancellation& cancellation) = 0;
  virtual HeadStats evaluate(const RealMatrix& embeddings, const std::int32_t* labels,
                             const Loss& loss, const HeadOutputs& outputs,
                             const Cancellation& cancellation) = 0;
  // labels: nullptr for posteriors without a target.
  virtual SparseRows posterior(const RealMatrix& embeddings, const std::int32_t* labels,
                               const Loss& loss, const Cancellation& cancellation) = 0;
  virtual void nearest(const RealMatrix& queries, std::size_t k, std::int32_t* identities,
                       float* cosines, const Cancellation& cancellation) = 0;

  // Re-initialisation; see head/class_means.h.
  virtual void accumulate_means(const RealMatrix& embeddings, const std::int32_t* labels,
                                const std::uint8_t* selected) = 0;
  virtual std::size_t apply_means() = 0;
  virtual void discard_means() = 0;

  virtual void read_rows(StateArray array, std::size_t first, std::size_t count, float* out) = 0;
  virtual void write_rows(StateArray array, std::size_t first, std::size_t count,
                          const float* values) = 0;
  // `identities`: rows, nullptr for all.
  virtual void set_prototypes(const std::int32_t* identities, std::size_t count,
                              const float* values) = 0;
  virtual bool has_state(StateArray array) = 0;

  struct Memory {
    std::size_t prototypes = 0;
    std::size_t optimizer = 0;
    std::size_t scratch_peak = 0;
  };
  // Reads counters only, so it never waits for a running call.
  virtual Memory memory() const = 0;

  // Frees everything; later calls fail with ERR_DISPOSED. Waits for a running call.
  virtual void dispose() = 0;
};

}  // namespace alphamargin
