#include "head/class_means.h"

#include <cmath>
#include <vector>

namespace alphamargin {

void ClassMeans::add(const Embeddings& batch, const std::int32_t* labels,
                     const std::uint8_t* selected) {
  for (std::size_t row = 0; row < batch.rows; ++row) {
    const std::int32_t label = labels[row];
    if (label == kIgnoredLabel) continue;
    if (selected != nullptr && selected[label] == 0) continue;
    auto entry = places_.find(label);
    if (entry == places_.end()) {
      // The room first: a place without room would outlive a failed allocation.
      const std::size_t place = sums_.size();
      sums_.resize(place + dim_, 0.0);
      entry = places_.emplace(label, place).first;
    }
    double* sum = sums_.data() + entry->second;
    const float* values = batch.row(row);
    const double inverse = 1 / batch.norms[row];
    for (std::size_t k = 0; k < dim_; ++k) sum[k] += values[k] * inverse;
  }
}

void ClassMeans::for_each(const std::function<void(std::int32_t, const float*)>& visitor) const {
  std::vector<float> row(dim_);
  for (const auto& [label, place] : places_) {
    const double* sum = sums_.data() + place;
    double squares = 0;
    for (std::size_t k = 0; k < dim_; ++k) squares += sum[k] * sum[k];
    const double norm = std::sqrt(squares);
    // Opposite embeddings leave rounding noise, not a direction.
    if (norm < 1e-6) continue;
    for (std::size_t k = 0; k < dim_; ++k) row[k] = static_cast<float>(sum[k] / norm);
    visitor(label, row.data());
  }
}

}  // namespace alphamargin
