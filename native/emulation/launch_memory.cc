// Shared memory of the blocks that run, and what surrounds an allocation.

#include <algorithm>
#include <cstring>
#include <memory>

#include "emulation/launch_state.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace alphamargin::emulated {
namespace {

constexpr unsigned char kGuardPattern = 0xa5;
// Of dynamic shared memory, as on a GPU: swizzled tiles need it.
constexpr std::size_t kSharedAlignment = 1024;

// Shared memory is hardware: a launch that fits has it. It is plain heap memory, aligned here,
// because tests make aligned allocations fail (they are the device's memory) to see that a call
// which runs out of memory leaves a head as it was; a launch must not fail half-way through a step.
Block::SharedArray make_shared_array(std::size_t bytes, std::size_t alignment, std::uint64_t seed) {
  const std::size_t front = std::max(alignment, kGuardBytes);
  Block::SharedArray array;
  array.bytes = bytes;
  array.allocation =
      std::make_unique_for_overwrite<unsigned char[]>(front + alignment + bytes + kGuardBytes);
  const auto earliest = reinterpret_cast<std::uintptr_t>(array.allocation.get()) + front;
  array.memory = array.allocation.get() + front + (alignment - earliest % alignment) % alignment;
  fill_uninitialised(array.memory, bytes, seed);
  set_guard(array.memory - kGuardBytes);
  set_guard(array.memory + bytes);
  return array;
}

// Where the guards of an array that is in use were overwritten: "start", "end" or null.
const char* overwritten_side(const Block::SharedArray& array) {
  if (array.memory == nullptr) return nullptr;
  if (!guard_is_intact(array.memory - kGuardBytes)) return "start";
  return guard_is_intact(array.memory + array.bytes) ? nullptr : "end";
}

void free_shared_array(Block::SharedArray& array) {
  if (array.memory == nullptr) return;
  clear_guard(array.memory - kGuardBytes);
  clear_guard(array.memory + array.bytes);
  array = {};
}

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
    array = make_shared_array(bytes, std::max<std::size_t>(16, alignment), seed_);
  }
  return array.memory;
}

std::uint32_t Launch::shared_address(const void* place) const {
  const unsigned char* const start = running_->block->dynamic.memory;
  const auto distance = static_cast<const unsigned char*>(place) - start;
  if (distance < 0 || static_cast<std::size_t>(distance) >= shared_bytes_) {
    fault("an operand outside of dynamic shared memory");
  }
  return static_cast<std::uint32_t>(distance);
}

unsigned char* Launch::shared_place(unsigned rank, std::size_t address, std::size_t bytes) {
  if (rank >= cluster_) fault("a block that the cluster does not have");
  if (address + bytes > shared_bytes_) fault("an operand beyond the end of dynamic shared memory");
  return blocks_[rank].dynamic.memory + address;
}

void Launch::make_shared(Block& block) {
  if (shared_bytes_ == 0) return;
  block.dynamic = make_shared_array(shared_bytes_, kSharedAlignment, seed_);
}

void Launch::check_shared() const {
  for (const Block& block : blocks_) {
    for (const auto& [key, array] : block.shared) {
      if (const char* side = overwritten_side(array)) {
        fault(std::string("a write beyond the ") + side + " of a shared array of " +
              std::to_string(array.bytes) + " bytes");
      }
    }
    if (const char* side = overwritten_side(block.dynamic)) {
      fault(std::string("a write beyond the ") + side + " of " + std::to_string(shared_bytes_) +
            " bytes of dynamic shared memory");
    }
  }
}

void Launch::free_shared() {
  for (Block& block : blocks_) {
    for (auto& [key, array] : block.shared) free_shared_array(array);
    block.shared.clear();
    free_shared_array(block.dynamic);
  }
}

}  // namespace alphamargin::emulated
