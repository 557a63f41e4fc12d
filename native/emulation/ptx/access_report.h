#pragma once
// How often instructions are executed, and what the accesses of a warp to memory cost: sectors of
// 32 bytes of device memory, and passes through the 32 banks of shared memory. Written as JSON to
// the file that ALPHAMARGIN_EMULATED_ACCESSES names when the process ends
// (scripts/access-report.mjs).
//
// Lanes are run one by one here. What a warp does at once on a GPU is taken to be what its lanes do
// when they come to an instruction for the same time.

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "emulation/launch_state.h"

namespace alphamargin::emulated::ptx {

struct Frame;
struct Function;
struct Instruction;

// Of all accesses of an instruction.
struct AccessCounts {
  std::uint64_t units = 0;  // sectors, or passes
  std::uint64_t least = 0;  // that as many bytes need
};

// Of one access of a warp, by the lanes in the mask, `bytes` each. Device memory: the sectors that
// have them.
AccessCounts sectors_of(const std::array<std::uint64_t, kWarp>& addresses, std::uint32_t lanes,
                        std::uint64_t bytes);
// Shared memory. Lanes whose words fill the banks once go together: a half warp for 8 bytes, a
// quarter for 16. A pass gives every bank one word, to all who want it.
AccessCounts passes_of(const std::array<std::uint64_t, kWarp>& addresses, std::uint32_t lanes,
                       std::uint64_t bytes);

class AccessReport {
 public:
  // Null unless it is wanted.
  static AccessReport* wanted();

  void begin_thread(const Frame& frame);
  // By the instructions of the kernel.
  std::uint64_t* executed(const Frame& frame);
  void record(const Frame& frame, const Instruction& instruction, std::uint64_t address,
              std::size_t bytes, bool is_shared);
  void record_tile(const Frame& frame, const Instruction& instruction, std::size_t bytes);
  // Of a thread that has returned. When all threads of a cluster have, what they did is summed up.
  void end_thread(const Frame& frame);

 private:
  struct Request {
    std::array<std::uint64_t, kWarp> addresses;
    std::uint32_t lanes = 0;
    std::uint8_t bytes = 0;
  };
  struct Line {
    AccessCounts global;
    AccessCounts shared;
  };
  struct Kernel {
    std::uint64_t launches = 0;
    std::vector<std::uint64_t> executed;  // by threads
    std::vector<Line> lines;
  };

  Kernel& kernel_of(const Frame& frame);
  void sum_up(Kernel& kernel);
  void write(const std::string& path) const;

  std::unordered_map<const Function*, Kernel> kernels_;
  std::unordered_map<std::uint64_t, Request> requests_;  // of the cluster that runs
  std::unordered_map<const Thread*, std::vector<std::uint32_t>> times_;
  std::size_t returned_ = 0;
  std::uint64_t launch_ = 0;
};

}  // namespace alphamargin::emulated::ptx
