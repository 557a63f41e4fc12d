// Shared memory of the blocks that run, and what surrounds an allocation.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "emulation/launch_state.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace alphamargin::emulated {
namespace {

constexpr unsigned char kGuardPattern = 0xa5;
// Of dynamic shared memory, as on a GPU: swizzled tiles need it.
constexpr std::size_t kSharedAlignment = 1024;

}  // namespace

void fill_uninitialised(void* memory, std::size_t bytes, std::uint64_t seed) {
  const auto pattern = static_cast<int>(seed == 0 ? 0xffu : (seed * 0x9e3779b97f4a7c15u) >> 56);
  std::memset(memory, pattern, bytes);
}

void set_guard(void* guard) {
  std::memset(guard, kGuardPattern, kGuardBytes);
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(guard, kGuardBytes);
#endif
}

bool guard_is_intact(const void* guard) {
#if defined(__SANITIZE_ADDRESS__)
  static_cast<void>(guard);
  return true;  // a write would have been reported
#else
  const auto* bytes = static_cast<const unsigned char*>(guard);
  return std::all_of(bytes, bytes + kGuardBytes,
                     [](unsigned char byte) { return byte == kGuardPattern; });
#endif
}

void clear_guard(void* guard) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(guard, kGuardBytes);
#else
  static_cast<void>(guard);
#endif
}

void* Launch::shared_array(const void* key, std::size_t bytes, std::size_t alignment) {
  Block::SharedArray& array = running_->block->shared[key];
  if (array.memory == nullptr) {
    const std::size_t aligned = std::max<std::size_t>(16, alignment);
    if (posix_memalign(&array.memory, aligned, bytes + kGuardBytes) != 0) throw std::bad_alloc();
    array.bytes = bytes;
    fill_uninitialised(array.memory, bytes, seed_);
    set_guard(static_cast<char*>(array.memory) + bytes);
  }
  return array.memory;
}

std::uint32_t Launch::shared_address(const void* place) const {
  const auto* const start = static_cast<const unsigned char*>(running_->block->dynamic);
  const auto distance = static_cast<const unsigned char*>(place) - start;
  if (distance < 0 || static_cast<std::size_t>(distance) >= shared_bytes_) {
    fault("an operand outside of dynamic shared memory");
  }
  return static_cast<std::uint32_t>(distance);
}

unsigned char* Launch::shared_place(unsigned rank, std::size_t address, std::size_t bytes) {
  if (rank >= cluster_) fault("a block that the cluster does not have");
  if (address + bytes > shared_bytes_) fault("an operand beyond the end of dynamic shared memory");
  return static_cast<unsigned char*>(blocks_[rank].dynamic) + address;
}

void Launch::make_shared(Block& block) {
  if (shared_bytes_ == 0) return;
  if (posix_memalign(&block.dynamic, kSharedAlignment, shared_bytes_ + kGuardBytes) != 0) {
    throw std::bad_alloc();
  }
  fill_uninitialised(block.dynamic, shared_bytes_, seed_);
  set_guard(static_cast<char*>(block.dynamic) + shared_bytes_);
}

void Launch::check_shared() const {
  for (const Block& block : blocks_) {
    for (const auto& [key, array] : block.shared) {
      if (guard_is_intact(static_cast<const char*>(array.memory) + array.bytes)) continue;
      fault("a write beyond the end of a shared array of " + std::to_string(array.bytes) +
            " bytes");
    }
    if (block.dynamic != nullptr &&
        !guard_is_intact(static_cast<const char*>(block.dynamic) + shared_bytes_)) {
      fault("a write beyond the end of " + std::to_string(shared_bytes_) +
            " bytes of dynamic shared memory");
    }
  }
}

void Launch::free_shared() {
  for (Block& block : blocks_) {
    for (const auto& [key, array] : block.shared) {
      clear_guard(static_cast<char*>(array.memory) + array.bytes);
      std::free(array.memory);
    }
    block.shared.clear();
    if (block.dynamic != nullptr) clear_guard(static_cast<char*>(block.dynamic) + shared_bytes_);
    std::free(block.dynamic);
    block.dynamic = nullptr;
  }
}

}  // namespace alphamargin::emulated
