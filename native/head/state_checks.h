#pragma once
// What the head's state must satisfy, whatever device holds it: the checks of rows that come from
// outside, and the bound that keeps an update within float32. All of them come before the first
// write.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "head/optimizer.h"

namespace alphamargin {

// Throws for the first prototype row of `values` [count, D] that is not finite or whose norm is out
// of range (rows are named from `first` on); else their norms.
std::vector<double> checked_prototypes(std::size_t first, std::size_t count, std::size_t dim,
                                       const float* values);

// The same for rows of an optimiser's array, `width` numbers each.
void check_optimizer_rows(StateArray array, std::size_t first, std::size_t count, std::size_t width,
                          const float* values);

// The same for prototypes that replace those of `identities` (nullptr: 0 … count − 1).
void check_replacements(const std::int32_t* identities, std::size_t count, const float* values,
                        std::size_t classes, std::size_t dim);

// Norm of the longest row of `values` [count, D].
double largest_norm(std::size_t count, std::size_t dim, const float* values);

// The smallest and the largest norm of all prototypes.
struct NormRange {
  double smallest;
  double largest;
};

// Throws when a step could leave the range of float32 (the learning rate is far too large), judged
// by a bound on every row: no prototype's Σ|g| exceeds `largest_coefficient`, no momentum row's
// norm `momentum_bound`. Returns the bound on momentum rows that holds after the update.
double check_update(const Optimizer& optimizer, double largest_coefficient, const NormRange& norms,
                    std::size_t dim, double momentum_bound);

}  // namespace alphamargin
