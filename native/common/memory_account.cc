#include "common/memory_account.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace alphamargin {

void* allocate_aligned(std::size_t bytes) {
  constexpr std::size_t kLine = 64;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::size_t kHugePage = std::size_t{1} << 21;
  constexpr std::size_t kLarge = std::size_t{1} << 25;
  if (bytes >= kLarge) {
    const std::size_t whole = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    void* memory = std::aligned_alloc(kHugePage, whole);
    // A wish: where it is not granted, the memory serves as it is.
    if (memory != nullptr) madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
    return memory;
  }
#endif
  return std::aligned_alloc(kLine, bytes);
}

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
