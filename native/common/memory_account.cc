#include "common/memory_account.h"

namespace alphamargin {

void MemoryAccount::add(std::size_t bytes) {
  const std::size_t now = current_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  std::size_t seen = peak_.load(std::memory_order_relaxed);
  while (seen < now && !peak_.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
  }
  if (parent_ != nullptr) parent_->add(bytes);
}

void MemoryAccount::remove(std::size_t bytes) {
  current_.fetch_sub(bytes, std::memory_order_relaxed);
  if (parent_ != nullptr) parent_->remove(bytes);
}

}  // namespace alphamargin
