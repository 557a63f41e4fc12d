#pragma once
// ∂x of one row from the prototypes of its support, read one after the other: for heads whose
// prototypes stay in the cache.
//
// The sums are those of sparse_gradient.h in their order: over ascending classes within a part of
// the classes, then over the parts. So it does not show which way a gradient was computed.

#include <vector>

#include "head/solved_rows.h"

namespace alphamargin {

class RowGather {
 public:
  explicit RowGather(const HeadInputs& inputs);

  // Writes ∂x [D] of a solved row; returns how many prototypes it read.
  std::size_t run(std::size_t row, const SolvedRow& solved, const Buffer<SupportEntry>& entries,
                  float* out);

 private:
  void collect(const SolvedRow& solved, const Buffer<SupportEntry>& entries, std::size_t part);
  void add(std::size_t identity, double coefficient, double cosine);

  const HeadInputs& inputs_;
  std::size_t parts_;
  std::size_t next_ = 0;    // entry
  Buffer<double> sums_;     // [D]
  Buffer<double> partial_;  // [D], of a part
  std::vector<double> factors_;
  std::vector<const float*> rows_;
  double projection_ = 0;  // Σ g c of a part
};

}  // namespace alphamargin
