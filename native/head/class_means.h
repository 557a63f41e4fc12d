#pragma once
// Prototype re-initialisation of A3M: each prototype becomes the normalised mean of the normalised
// embeddings of its class. Source: Koutsianos et al. 2025, arXiv 2511.13621.
//
// Rows exist only for classes that were seen, so a caller bounds the memory by restricting the
// identities of a pass. Sums are float64 in the order of the samples.

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "cpu/embeddings.h"

namespace alphamargin {

class ClassMeans {
 public:
  ClassMeans(MemoryAccount& account, std::size_t dim)
      : dim_(dim), sums_(make_buffer<double>(account)) {}

  // Adds a batch; `selected` [C] restricts the classes when not nullptr.
  void add(const Embeddings& batch, const std::int32_t* labels, const std::uint8_t* selected);

  // Calls visitor(identity, unit row) with the normalised mean of every class seen whose mean has a
  // direction; the others keep their prototypes.
  void for_each(const std::function<void(std::int32_t, const float*)>& visitor) const;

 private:
  std::size_t dim_;
  std::unordered_map<std::int32_t, std::size_t> places_;
  Buffer<double> sums_;
};

}  // namespace alphamargin
