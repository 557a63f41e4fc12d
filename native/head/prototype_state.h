#pragma once
// The arrays a head owns: prototypes, their norms, the filter's shadow of them, optimiser state.

#include <cstdint>

#include "common/runtime.h"
#include "cpu/kernel_set.h"
#include "cpu/prototype_filter.h"
#include "head/optimizer.h"

namespace alphamargin {

class PrototypeState {
 public:
  // `identities` counts rows: with sub-centres there are several of each identity.
  PrototypeState(MemoryAccount& account, std::size_t identities, std::size_t dim,
                 std::size_t sub_centres);

  // Random directions of unit length, by integer arithmetic from (seed, element): the same bits on
  // every machine and for any number of threads.
  void fill_random(Runtime& runtime, std::uint64_t seed);

  std::size_t identities() const { return identities_; }
  std::size_t dim() const { return dim_; }
  PrototypeView view() const {
    return {prototypes_.data(),
            norms_.data(),
            identities_,
            dim_,
            shadow_.empty() ? nullptr : shadow_.data(),
            shadow_scales_.data(),
            sub_centres_};
  }

  // Makes the shadow, unless it exists: for the first call that filters. From then on every change
  // of a prototype rewrites its shadow row.
  void build_shadow(Runtime& runtime);

  // Allocates what the optimiser needs and has not been made yet, zeroed.
  void ensure_optimizer(const Optimizer& optimizer);
  bool has(StateArray array) const;
  std::size_t width(StateArray array) const { return array == StateArray::kAccumulator ? 1 : dim_; }
  void read(StateArray array, std::size_t first, std::size_t count, float* out) const;
  // Checks all rows before the first is written.
  void write(StateArray array, std::size_t first, std::size_t count, const float* values);

  // See head/state_checks.h; returns the bound on momentum rows that holds after the update.
  double check_update(Runtime& runtime, const Optimizer& optimizer,
                      double largest_coefficient) const;
  // One row's update with its gradient (whose inverse_norm is filled in here); `gradient_row` [D]
  // is scratch. ensure_optimizer and check_update came before.
  // What ask_for() filled in is asked for meanwhile.
  void update_row(const Optimizer& optimizer, std::size_t identity, ClassGradient& gradient,
                  double* gradient_row, const RowsAhead& ahead);
  // Fills in the rows that an update will need soon; `before` is the identity asked for before.
  // Field by field: a copy of all would wait for every store of the last update.
  void ask_for(std::size_t identity, std::size_t before, RowsAhead& ahead) const {
    ahead.row = prototypes_.data() + identity * dim_;
    if (!momentum_.empty()) ahead.velocity = momentum_.data() + identity * dim_;
    // A shadow row shares its lines with the others of its group.
    if (!shadow_.empty() && identity / kGroup != before / kGroup) {
      const std::size_t depth = rounded_up(dim_, kChunk);
      ahead.shadow = shadow_.data() + identity / kGroup * kGroup * depth;
    }
  }
  // Bytes an update of one row reads and writes.
  std::size_t update_bytes() const;
  // Once an update is complete: stores what check_update returned, and frees what the rule does
  // not keep (of an earlier rule).
  void end_update(const Optimizer& optimizer, double momentum_bound);
  // Replaces the prototypes of the given identities (nullptr: 0 … count − 1) and forgets their
  // optimiser state. Checks all rows before the first is written.
  void reset_rows(const std::int32_t* identities, std::size_t count, const float* values);
  void reset_row(std::size_t identity, const float* values);

  // With norms and shadow.
  std::size_t prototype_bytes() const;
  std::size_t optimizer_bytes() const;

 private:
  void write_shadow(std::size_t identity);
  // Norm and shadow of a row that was just written; `square` is that of its norm.
  void refresh_row(std::size_t identity, double square);
  void refresh_row(std::size_t identity);

  std::size_t identities_;
  std::size_t dim_;
  std::size_t sub_centres_;
  Buffer<float> prototypes_;
  Buffer<double> norms_;
  Buffer<std::uint8_t> shadow_;  // see cpu/byte_vectors.h
  Buffer<float> shadow_scales_;
  Buffer<float> momentum_;
  Buffer<float> accumulator_;
  double momentum_bound_ = 0;  // ≥ the norm of every momentum row
};

}  // namespace alphamargin
