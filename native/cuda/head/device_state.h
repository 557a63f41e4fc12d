#pragma once
// The arrays a head owns on the device: prototypes, their norms and shadow, optimiser state.
// The counterpart of head/prototype_state.h, with the same values bit for bit (the shadow is the
// filter's own).

#include "cuda/head/head_arrays.h"
#include "head/optimizer.h"
#include "head/state_checks.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

class DeviceState {
 public:
  // `identities` counts rows: with sub-centres there are several of each identity. `reference`, one
  // for each of those, on the host, copied, or nullptr. Synchronises.
  DeviceState(DeviceContext& context, MemoryAccount& account, std::size_t identities,
              std::size_t dim, std::size_t sub_centres, const float* reference, FilterTier filter);

  // Random directions of unit length from (seed, element); see math/random_direction.h.
  void fill_random(std::uint64_t seed);

  PrototypeArrays arrays() const;

  // Allocates what the optimiser needs and has not been made yet, zeroed.
  void ensure_optimizer(const Optimizer& optimizer);
  bool has(StateArray array) const;
  // Rows to and from host memory; both synchronise. write() checks all rows before the first is
  // written.
  void read(StateArray array, std::size_t first, std::size_t count, float* out);
  void write(StateArray array, std::size_t first, std::size_t count, const float* values);

  // The smallest and the largest norm: `found` is filled in by the next synchronisation.
  struct NormRangeQuery {
    DeviceBuffer<unsigned long long> range;
    NormRange found{};
  };
  void ask_norm_range(NormRangeQuery& query);
  // See head/state_checks.h; returns the bound on momentum rows that holds after the update.
  double check_update(const Optimizer& optimizer, double largest_coefficient,
                      const NormRange& norms) const;
  // Once an update has been given to the stream: stores what check_update returned, and frees what
  // the rule does not keep (of an earlier rule).
  void end_update(const Optimizer& optimizer, double momentum_bound);

  // Replaces the prototypes of the given identities (nullptr: 0 … count − 1) and forgets their
  // optimiser state; of an identity that comes twice the later row counts. Checks and allocates
  // before the first is written. Synchronises.
  void reset_rows(const std::int32_t* identities, std::size_t count, const float* values);

  ShadowFormat format() const { return shadow_format(filter_); }
  // What the filter reads of one prototype.
  std::size_t filter_row_bytes() const {
    return padded_dim(dim_, format()) * element_bytes(format()) + rounding_bytes();
  }
  // What an update writes of one besides the float32 row, or its halves.
  std::size_t shadow_row_bytes() const {
    return is_split() ? rounding_bytes() : filter_row_bytes();
  }
  std::size_t prototype_bytes() const;
  std::size_t optimizer_bytes() const;

 private:
  bool is_split() const { return format() == ShadowFormat::kUpper; }
  // Elements of the array that the filter reads, were it this one.
  std::size_t elements_of(ShadowFormat wanted) const {
    return format() == wanted ? identities_ * padded_dim(dim_, wanted) : 0;
  }
  std::size_t rounding_bytes() const {
    return format() == ShadowFormat::kHalf ? 0 : 2 * sizeof(float);
  }
  // transfer(begin, rows, buffer) for parts of `count` rows, with room for them as float32.
  template <class Transfer>
  void for_transfers(std::size_t count, const Transfer& transfer);
  // Writes rows and all that follows from them.
  void upload_prototypes(std::size_t first, std::size_t count, const float* values);
  std::size_t width(StateArray array) const { return array == StateArray::kAccumulator ? 1 : dim_; }
  DeviceBuffer<float> zeros(std::size_t count);
  void reset_first_rows(std::size_t count, const float* values);
  void scatter_rows(const std::int32_t* identities, std::size_t count, const float* values);

  DeviceContext& context_;
  MemoryAccount& account_;
  std::size_t identities_;
  std::size_t dim_;
  std::size_t sub_centres_;
  FilterTier filter_;
  DeviceBuffer<float> prototypes_;
  DeviceBuffer<std::uint16_t> upper_;
  DeviceBuffer<std::uint16_t> lower_;
  DeviceBuffer<double> norms_;
  DeviceBuffer<__half> shadow_;
  DeviceBuffer<std::int8_t> int8_shadow_;
  DeviceBuffer<float> scales_;
  DeviceBuffer<float> residuals_;
  DeviceBuffer<float> reference_;
  DeviceBuffer<float> momentum_;
  DeviceBuffer<float> accumulator_;
  double momentum_bound_ = 0;  // ≥ the norm of every momentum row
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
