#pragma once
// Where an instruction reads or writes: checked against what it may reach.

#include "emulation/ptx/frame.h"

namespace alphamargin::emulated::ptx {

enum class Space { kGeneric, kGlobal, kShared, kLocal, kParameter };

// The memory behind an address that must lie in one allocation and be a multiple of `alignment`.
unsigned char* shared_memory(Frame& frame, const Instruction& instruction, std::uint64_t address,
                             std::size_t bytes, std::size_t alignment);
unsigned char* global_memory(Frame& frame, const Instruction& instruction, std::uint64_t address,
                             std::size_t bytes, std::size_t alignment);

// For the report of accesses, where it is wanted.
inline void report_access(const Frame& frame, const Instruction& instruction, std::uint64_t address,
                          std::size_t bytes, bool is_shared) {
  AccessReport* const report = frame.execution.accesses;
  if (report != nullptr) report->record(frame, instruction, address, bytes, is_shared);
}

// The start of the block's shared memory: generic addresses of it count from there.
inline unsigned char* shared_base() {
  return static_cast<unsigned char*>(Launch::current().dynamic_shared());
}

}  // namespace alphamargin::emulated::ptx
