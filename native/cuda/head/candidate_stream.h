#pragma once
// All prototypes past the batch with rising bounds; what is left of them are the candidates of its
// rows. Why it is exact: head/sparse_rows.cc.

#include "cuda/head/filter.h"
#include "cuda/head/head_call.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// What is known of a row on the way.
struct RowProgress {
  double threshold;         // a cosine its threshold certainly reaches
  std::uint64_t survivors;  // of the filter
  std::uint32_t solved;     // candidates after the last tightening
  std::uint32_t assuming;   // 1: classes were dropped on an assumption (recent_thresholds.h)
};

class CandidateStream {
 public:
  explicit CandidateStream(const HeadCall& call);

  // Streams all prototypes past the batch. Rows that keep too much are marked dense and have no
  // candidates. Synchronises, and once more if rows did not reach what was assumed for them.
  void run();

  // Lists sorted by identity, and their lengths.
  CandidateArrays candidates() const;
  const std::uint32_t* counts() const { return counts_.data(); }

  std::size_t kept() const { return kept_; }  // by all rows
  std::size_t survivors() const { return survivors_; }
  const StreamNotes& notes() const { return notes_; }

 private:
  void stream(bool again);
  void tighten(bool is_last);
  // Whether tightening leaves the lists sorted.
  bool is_sorted() const {
    return call_.prototypes.reference != nullptr || call_.prototypes.sub_centres > 1;
  }
  void fetch();

  const HeadCall& call_;
  std::size_t rows_;
  std::size_t row_limit_;
  std::size_t capacity_;
  DeviceBuffer<Candidate> lists_;
  DeviceBuffer<std::uint32_t> counts_;
  DeviceBuffer<RowProgress> progress_;
  DeviceBuffer<float> bounds_;
  DeviceBuffer<std::uint32_t> restarts_;  // rows to stream again [1]
  std::size_t kept_ = 0;
  std::size_t survivors_ = 0;
  StreamNotes notes_;
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
