#include "emulation/fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace alphamargin::emulated {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStackBytes = 256 * 1024;  // instrumented frames are larger
// At the top of a stack, what the frames that never return may take.
constexpr std::size_t kOutermostBytes = 16 * 1024;
#else
constexpr std::size_t kStackBytes = 64 * 1024;
#endif

// Stacks that end at the same place of a page would share a few lines of the cache, and a block has
// hundreds of them: every one begins at another of these many places.
constexpr std::size_t kStackPlaces = 31;
constexpr std::size_t kPlaceBytes = 128;
constinit std::atomic<std::size_t> fibres{0};

}  // namespace

Fibre::Fibre()
    : stack_bytes_(kStackBytes),
      unused_bytes_(fibres.fetch_add(1, std::memory_order_relaxed) % kStackPlaces * kPlaceBytes) {
  // A page that cannot be touched below the stack: an overflow is a fault, not a strange result.
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, stack_bytes_ + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page, PROT_NONE);
  stack_ = static_cast<char*>(memory) + page;
}

Fibre::~Fibre() {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_, stack_bytes_);
#endif
  munmap(stack_ - page, stack_bytes_ + page);
}

void Fibre::prepare(Entry entry, void* argument) {
  entry_ = entry;
  argument_ = argument;
#if defined(__SANITIZE_ADDRESS__)
  // Functions that return leave nothing poisoned. A fibre that was given up half-way did not.
  const std::size_t used = has_finished_ ? kOutermostBytes : stack_bytes_;
  __asan_unpoison_memory_region(stack_ + stack_bytes_ - used, used);
  has_finished_ = false;
  own_fake_stack_ = nullptr;
#endif
  // As continue_at() leaves a stack, with where to go on on top; below it what the function that is
  // entered takes for its return address, which leaves the stack as aligned as it expects.
  auto* top = reinterpret_cast<void**>(
      reinterpret_cast<std::uintptr_t>(stack_ + stack_bytes_ - unused_bytes_) &
      ~std::uintptr_t{15});
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&Fibre::trampoline);
  own_ = top;
}

void Fibre::trampoline() { starting_->start(); }

void Fibre::start() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &caller_bottom_, &caller_size_);
#endif
  entry_(argument_);
  finish();
}

void Fibre::finish() {
#if defined(__SANITIZE_ADDRESS__)
  has_finished_ = true;
  __sanitizer_start_switch_fiber(nullptr, caller_bottom_, caller_size_);
#endif
  continue_at(&own_, &caller_);
  std::abort();  // a finished fibre is not resumed
}

}  // namespace alphamargin::emulated
