#include "common/memory_account.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__GLIBC__) || defined(_WIN32)
#include <malloc.h>
#endif

namespace alphamargin {
namespace {
constexpr std::size_t kLine = 64;
}

#if defined(__linux__) && defined(MADV_HUGEPAGE)
namespace {

constexpr std::size_t kHugePage = std::size_t{1} << 21;
constexpr std::size_t kLarge = kHugePage;

std::size_t whole_pages(std::size_t bytes) {
  return (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

// Straight from the system, which has it back when it is freed: malloc would keep such an array
// for every thread that ever ran a call.
void* map_pages(std::size_t bytes) {
  if (bytes > ~std::size_t{0} / 2) return nullptr;
  const std::size_t size = whole_pages(bytes);
  void* const start =
      mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  const std::size_t before =
      (kHugePage - reinterpret_cast<std::uintptr_t>(start) % kHugePage) % kHugePage;
  char* const memory = static_cast<char*>(start) + before;
  if (before > 0) munmap(start, before);
  munmap(memory + size, kHugePage - before);
  // A wish: where it is not granted, the memory serves as it is.
  madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return memory;
}

// Freed pages of the size that steps ask for again and again: the system would zero them anew each
// time, as long as a step of a small head takes.
class KeptPages {
 public:
  // Pages of exactly this size, or nullptr.
  void* take(std::size_t size) {
    const std::lock_guard lock(mutex_);
    for (Pages& pages : pages_) {
      if (pages.memory != nullptr && pages.size == size)
        return std::exchange(pages.memory, nullptr);
    }
    return nullptr;
  }
  bool keep(void* memory, std::size_t size) {
    if (size > kLargest) return false;
    const std::lock_guard lock(mutex_);
    for (Pages& pages : pages_) {
      if (pages.memory != nullptr) continue;
      pages = {memory, size};
      return true;
    }
    return false;
  }
  void release() {
    const std::lock_guard lock(mutex_);
    for (Pages& pages : pages_) {
      if (pages.memory != nullptr) munmap(std::exchange(pages.memory, nullptr), pages.size);
    }
  }

 private:
  static constexpr std::size_t kLargest = 8 * kHugePage;
  struct Pages {
    void* memory = nullptr;
    std::size_t size = 0;
  };
  std::mutex mutex_;
  std::array<Pages, 2> pages_;
};

KeptPages kept_pages;

}  // namespace

void* allocate_aligned(std::size_t bytes) {
  if (bytes < kLarge) return std::aligned_alloc(kLine, bytes);
  void* const kept = kept_pages.take(whole_pages(bytes));
  return kept != nullptr ? kept : map_pages(bytes);
}

void free_aligned(void* memory, std::size_t bytes) noexcept {
  if (bytes < kLarge) {
    std::free(memory);
  } else if (!kept_pages.keep(memory, whole_pages(bytes))) {
    munmap(memory, whole_pages(bytes));
  }
}
#elif defined(_WIN32)
void* allocate_aligned(std::size_t bytes) { return _aligned_malloc(bytes, kLine); }

void free_aligned(void* memory, std::size_t) noexcept { _aligned_free(memory); }
#else
void* allocate_aligned(std::size_t bytes) { return std::aligned_alloc(kLine, bytes); }

void free_aligned(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

void return_freed_memory() {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  kept_pages.release();
#endif
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
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
