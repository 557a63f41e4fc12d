#pragma once
// Counts the bytes of every buffer. Accounts form a tree: a step's scratch account adds to its
// head's runtime, so `memory()` and `stats.scratchBytes` come from the same counters.

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include "common/failure.h"

namespace alphamargin {

class MemoryAccount {
 public:
  explicit MemoryAccount(MemoryAccount* parent = nullptr) : parent_(parent) {}
  MemoryAccount(const MemoryAccount&) = delete;
  MemoryAccount& operator=(const MemoryAccount&) = delete;

  void add(std::size_t bytes);
  void remove(std::size_t bytes);
  std::size_t current() const { return current_.load(std::memory_order_relaxed); }
  std::size_t peak() const { return peak_.load(std::memory_order_relaxed); }

 private:
  MemoryAccount* parent_;
  std::atomic<std::size_t> current_{0};
  std::atomic<std::size_t> peak_{0};
};

// `bytes` (a multiple of 64) on a cache line, or nullptr. Large arrays ask for huge pages: rows of
// prototypes are read here and there, and every 4 KiB page would be a walk through the page table.
void* allocate_aligned(std::size_t bytes);
void free_aligned(void* memory, std::size_t bytes) noexcept;

// Gives freed memory back to the system: pages that are kept for the next call, and what the many
// short lists of a large batch took. glibc keeps that once for every thread that calls run on:
// several times the scratch of a call in the end.
void return_freed_memory();

// Cache-line aligned allocations on an account, for std::vector.
template <class T>
class AccountedAllocator {
 public:
  using value_type = T;
  static constexpr std::size_t kAlignment = 64;

  explicit AccountedAllocator(MemoryAccount& account) : account_(&account) {}
  template <class U>
  AccountedAllocator(const AccountedAllocator<U>& other) : account_(other.account()) {}

  T* allocate(std::size_t count) {
    if (count > std::numeric_limits<std::size_t>::max() / sizeof(T) - kAlignment) {
      throw std::bad_alloc();
    }
    const std::size_t bytes = rounded(count);
    void* memory = allocate_aligned(bytes);
    if (memory == nullptr) {
      throw Failure(FailureCode::kOutOfMemory,
                    "host memory for " + std::to_string(bytes) + " bytes could not be allocated");
    }
    account_->add(bytes);
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) noexcept {
    account_->remove(rounded(count));
    free_aligned(memory, rounded(count));
  }
  MemoryAccount* account() const { return account_; }

  // resize() leaves numbers uninitialised: every buffer is written before it is read, and zeroing
  // gigabytes twice would cost as much as using them.
  template <class U>
  void construct(U* place) noexcept {
    ::new (static_cast<void*>(place)) U;
  }
  template <class U, class... Arguments>
  void construct(U* place, Arguments&&... arguments) {
    ::new (static_cast<void*>(place)) U(static_cast<Arguments&&>(arguments)...);
  }

  template <class U>
  bool operator==(const AccountedAllocator<U>& other) const {
    return account_ == other.account();
  }

 private:
  static std::size_t rounded(std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    return (bytes + kAlignment - 1) / kAlignment * kAlignment + (bytes == 0 ? kAlignment : 0);
  }
  MemoryAccount* account_;
};

template <class T>
using Buffer = std::vector<T, AccountedAllocator<T>>;

// An uninitialised buffer of `count` elements.
template <class T>
Buffer<T> make_buffer(MemoryAccount& account, std::size_t count = 0) {
  Buffer<T> buffer{AccountedAllocator<T>(account)};
  buffer.resize(count);
  return buffer;
}

}  // namespace alphamargin
