#include "head/row_gather.h"

#include <algorithm>

#include "cpu/kernel_set.h"
#include "head/gradient_parts.h"

namespace alphamargin {

RowGather::RowGather(const HeadInputs& inputs)
    : inputs_(inputs),
      parts_(class_part_count(inputs.prototypes.identities)),
      sums_(make_buffer<double>(inputs.scratch, inputs.batch.dim)),
      partial_(make_buffer<double>(inputs.scratch, inputs.batch.dim)) {}

std::size_t RowGather::run(std::size_t row, const SolvedRow& solved,
                           const Buffer<SupportEntry>& entries, float* out) {
  const std::size_t dim = inputs_.batch.dim;
  if (!(solved.others > 0)) {
    std::fill_n(out, dim, 0.0f);
    return 0;
  }
  std::fill(sums_.begin(), sums_.end(), 0.0);
  double projection = 0;
  std::size_t count = 0;
  next_ = 0;
  for (std::size_t part = 0; part < parts_; ++part) {
    collect(solved, entries, part);
    if (rows_.empty()) continue;
    Buffer<double>& into = count == 0 ? sums_ : partial_;
    if (count > 0) std::fill(partial_.begin(), partial_.end(), 0.0);
    kernel_set().accumulate_rows(rows_.size(), factors_.data(), rows_.data(), dim, into.data());
    if (count > 0) {
      for (std::size_t k = 0; k < dim; ++k) sums_[k] += partial_[k];
    }
    projection += projection_;
    count += rows_.size();
  }
  write_embedding_gradient(inputs_, row, sums_.data(), projection, out);
  return count;
}

void RowGather::collect(const SolvedRow& solved, const Buffer<SupportEntry>& entries,
                        std::size_t part) {
  const std::size_t begin = class_part_begin(inputs_.prototypes.identities, part);
  const std::size_t end = class_part_begin(inputs_.prototypes.identities, part + 1);
  const auto label = static_cast<std::size_t>(solved.label_row);
  const double target = target_coefficient(inputs_, solved);
  factors_.clear();
  rows_.clear();
  projection_ = 0;
  bool is_target_due = label >= begin && label < end;
  for (; next_ < entries.size(); ++next_) {
    const SupportEntry& entry = entries[next_];
    const auto identity = static_cast<std::size_t>(entry.identity);
    if (identity >= end) break;
    if (is_target_due && label < identity) {
      add(label, target, solved.label_cosine);
      is_target_due = false;
    }
    add(identity, class_factor(inputs_) * entry.posterior, entry.cosine);
  }
  if (is_target_due) add(label, target, solved.label_cosine);
}

void RowGather::add(std::size_t identity, double coefficient, double cosine) {
  if (coefficient == 0) return;
  factors_.push_back(coefficient * (1 / inputs_.prototypes.norms[identity]));
  rows_.push_back(inputs_.prototypes.row(identity));
  projection_ += coefficient * cosine;
}

}  // namespace alphamargin
