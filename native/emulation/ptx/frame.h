#pragma once
// A function that a thread runs: its registers, and how instructions read and write them.

#include <bit>
#include <memory>
#include <vector>

#include "emulation/launch_state.h"
#include "emulation/ptx/access_report.h"
#include "emulation/ptx/program.h"

namespace alphamargin::emulated::ptx {

// A launch that runs.
struct Execution {
  const Function& kernel;
  const Module& module;
  std::vector<SharedArray> shared;        // all that threads may reach of a block's shared memory
  std::vector<unsigned char> parameters;  // as the kernel sees them
  std::uint64_t number;                   // of the launch
  std::uint64_t seed;
  // Accesses to memory between two interruptions of a thread, on average; 0: none but those of the
  // emulated device, at barriers and operations of a warp.
  unsigned interval;
  unsigned left;
  AccessReport* accesses;  // null unless it is wanted
};

// The sums of products of a warpgroup that are not complete: until then they are not in registers.
struct PendingSums {
  std::uint32_t values[kProductSums];
  const Operand* registers;
  std::size_t pending;  // products
};
struct IssuedProduct {
  PendingSums* sums;
  unsigned group;
};

struct Frame {
  Execution& execution;
  const Function& function;
  std::uint64_t* registers;
  unsigned char* parameters;
  unsigned char* local;
  std::size_t next = 0;  // instruction
  bool carry = false;
  bool has_arrived_at_cluster = false;
  std::vector<std::unique_ptr<PendingSums>> sums{};
  std::vector<IssuedProduct> products{};
};

[[noreturn]] void fault(const Frame& frame, const Instruction& instruction,
                        const std::string& message);

// Runs a function to its end; returns how many instructions that took, without those of functions
// it calls.
std::uint64_t run(Frame& frame);

// Before an access to memory that others may see: lets other threads go first, now and then.
void let_others_run(Execution& execution);
inline void interrupt(Frame& frame) {
  Execution& execution = frame.execution;
  if (execution.interval != 0 && --execution.left == 0) let_others_run(execution);
}

template <class T>
T value_of(const Frame& frame, const Operand& operand) {
  const std::uint64_t bits = frame.registers[operand.slot] + operand.offset;
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<double>(bits);
  } else if constexpr (std::is_same_v<T, bool>) {
    return (bits & 1u) != 0;
  } else {
    return static_cast<T>(bits);
  }
}

template <class T>
void set(Frame& frame, const Operand& operand, T value) {
  std::uint64_t& place = frame.registers[operand.slot];
  if constexpr (std::is_same_v<T, float>) {
    place = std::bit_cast<std::uint32_t>(value);
  } else if constexpr (std::is_same_v<T, double>) {
    place = std::bit_cast<std::uint64_t>(value);
  } else if constexpr (std::is_same_v<T, bool>) {
    place = value ? 1u : 0u;
  } else {
    // A narrow value in a wide register keeps its sign.
    place = static_cast<std::uint64_t>(value);
  }
}

}  // namespace alphamargin::emulated::ptx
