#pragma once
// One row of a sparse posterior as it is given to JavaScript: the support and the target, ascending
// by identity, what is zero in float32 left out.

#include <cstdint>

#include "common/memory_account.h"

namespace alphamargin {

// identity(j) (ascending) and posterior(j) are the support without the target; `label` −1: none.
template <class Identity, class Posterior>
void sparse_posterior_row(std::size_t count, const Identity& identity, const Posterior& posterior,
                          std::int64_t label, double own, Buffer<std::int32_t>& columns,
                          Buffer<float>& values) {
  const auto add = [&](std::int64_t column, double p) {
    if (!(static_cast<float>(p) > 0)) return;
    columns.push_back(static_cast<std::int32_t>(column));
    values.push_back(static_cast<float>(p));
  };
  bool target_pending = label >= 0;
  for (std::size_t j = 0; j < count; ++j) {
    if (target_pending && label < identity(j)) {
      add(label, own);
      target_pending = false;
    }
    add(identity(j), posterior(j));
  }
  if (target_pending) add(label, own);
}

}  // namespace alphamargin
