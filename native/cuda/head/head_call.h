#pragma once
// One forward pass of the head on the device: what its parts share, and the parts.
//
//   prepare (prepare_batch) → start_rows → sparse rows (stream, solve) and dense rows → losses
//   → backward and update (sparse_backward, dense_rows)

#include <vector>

#include "common/failure.h"
#include "common/real_matrix.h"
#include "cuda/device_loss.h"
#include "cuda/first_bad_row.h"
#include "cuda/head/head_arrays.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// What every part of a call reads.
struct HeadCall {
  DeviceContext& context;
  MemoryAccount& scratch;
  PrototypeArrays prototypes;
  BatchArrays batch;
  DeviceLoss loss;
  std::size_t counted;         // rows that are not ignored
  RowState* rows;              // device [B]
  std::size_t scratch_budget;  // bytes that the sparse rows may keep
  bool fast;                   // the filter's cosines are not rescored; products of rounded numbers
  const Cancellation& cancellation;
  TopArrays top;
  double assumed;  // a cosine that thresholds probably reach (head/recent_thresholds.h), or −∞
};

// What a stream says of the bound it assumed, for the next call.
struct StreamNotes {
  bool assumed = false;
  bool crowded = false;    // rows kept much of what they may
  std::size_t missed = 0;  // rows that did not reach the bound
};

// The supports of the sparse rows, and who owns them.
struct Supports {
  DeviceBuffer<std::uint64_t> offsets;  // [B]
  DeviceBuffer<std::uint32_t> counts;   // [B]
  DeviceBuffer<std::int32_t> identities;
  DeviceBuffer<double> cosines;
  DeviceBuffer<double> posteriors;
  std::size_t survivors = 0;  // candidates that passed the filter, for the statistics
  StreamNotes notes;

  SupportArrays arrays() const {
    return {offsets.data(), counts.data(), identities.data(), cosines.data(), posteriors.data()};
  }
};

// prepare_batch.cu ------------------------------------------------------------------------------

// Owns the arrays of a batch. Rows are checked on the device; a bad one (non-finite, or a norm
// outside [1e-30, 1e30]) is taken for an ignored one there, until the host hears of it. Rows that
// the labels (host [B] or nullptr) ignore are not read: the first axis takes their place.
class PreparedBatch {
 public:
  // `format`: of what the filter reads.
  PreparedBatch(DeviceContext& context, MemoryAccount& scratch, const RealMatrix& embeddings,
                ShadowFormat format, const std::int32_t* labels = nullptr);
  BatchArrays arrays() const;
  const std::int32_t* labels() const { return labels_.data(); }  // on the device
  // Queues the question for a bad row, which throw_if_bad() answers after a synchronisation with
  // the error of the CPU.
  void ask() { first_bad_row_.download(); }
  void throw_if_bad(const char* argument) const;
  // Both. Synchronises.
  void check(const char* argument);

 private:
  DeviceContext& context_;
  RealMatrix input_;
  DeviceBuffer<unsigned char> uploaded_;
  DeviceBuffer<float> values_;
  DeviceBuffer<double> norms_;
  DeviceBuffer<float> unit_;
  DeviceBuffer<__half> half_unit_;
  DeviceBuffer<std::int8_t> int8_unit_;
  DeviceBuffer<std::uint16_t> upper_unit_;
  DeviceBuffer<float> scales_;
  DeviceBuffer<float> factors_;
  DeviceBuffer<double> slack_;
  DeviceBuffer<std::int32_t> labels_;
  FirstBadRow first_bad_row_;
  BatchArrays arrays_;
};

// Rewrites norms and shadow rows from the raw rows of all prototypes first … first + count − 1.
void refresh_prototypes(DeviceContext& context, const PrototypeArrays& prototypes,
                        std::size_t first, std::size_t count);

// For each row of a batch with labels the sub-centre of its label that it is nearest to, a row of
// the prototypes; −1 for ignored rows. Synchronises.
std::vector<std::int32_t> nearest_sub_centres(DeviceContext& context, MemoryAccount& scratch,
                                              const PrototypeArrays& prototypes,
                                              const PreparedBatch& batch);

// Fills in label, exact target cosine (float64), its margin, measure; zeroes the rest. Bad rows are
// marked as ignored. `loss` is the host's, for the margin; `labels` [B] or nullptr are the
// device's.
void start_rows(const HeadCall& call, const Loss& loss, const std::int32_t* labels);

// sparse_rows.cu --------------------------------------------------------------------------------

// Streams all prototypes past the batch, solves every row whose candidates fit the budget and marks
// the others dense (RowState::dense). Synchronises once, to size the supports, and once more where
// rows did not reach the bound that was assumed for them.
Supports solve_sparse_rows(const HeadCall& call);

// dense_rows.cu, dense_softmax.cu, pass_solver.cu -----------------------------------------------

// Solves the rows marked dense, whose indices ascend: solution, others, own, excess_cosine,
// support.
void solve_dense_rows(const HeadCall& call, const std::vector<std::uint32_t>& dense_rows);

// loss of every row with a target from its solution and moments (row_loss of cpu/row_solver.h);
// rows without a solution have none.
void finish_losses(const HeadCall& call);

// dense_posterior.cu -----------------------------------------------------------------------------

// The posteriors of the rows marked dense as they are given to JavaScript: ascending columns with p
// > 0 in float32, the target among them. Writes the host buffers of those rows.
void dense_posterior_rows(const HeadCall& call, const std::vector<std::uint32_t>& dense_rows,
                          std::vector<Buffer<std::int32_t>>& columns,
                          std::vector<Buffer<float>>& values);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
