#include "common/memory_account.h"

#include <cstdint>
#include <cstdlib>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace alphamargin {
namespace {
constexpr std::size_t kLine = 64;
}

#if defined(__linux__) && defined(MADV_HUGEPAGE)
namespace {

constexpr std::size_t kHugePage = std::size_t{1} << 21;
constexpr std::size_t kLarge = 6 * kHugePage;

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

}  // namespace

void* allocate_aligned(std::size_t bytes) {
  return bytes >= kLarge ? map_pages(bytes) : std::aligned_alloc(kLine, bytes);
}

void free_aligned(void* memory, std::size_t bytes) noexcept {
  if (bytes >= kLarge) {
    munmap(memory, whole_pages(bytes));
  } else {
    std::free(memory);
  }
}
#else
void* allocate_aligned(std::size_t bytes) { return std::aligned_alloc(kLine, bytes); }

void free_aligned(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

void return_freed_memory() {
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
