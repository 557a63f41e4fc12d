#include "emulation/ptx/access_report.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>

#include "emulation/ptx/frame.h"

namespace alphamargin::emulated::ptx {
namespace {

constexpr std::uint64_t kSectorBytes = 32;
constexpr std::uint64_t kBankBytes = 4;
constexpr std::uint64_t kBanks = 32;
constexpr unsigned kInstructionBits = 20;  // and one more: whether it is shared memory
constexpr unsigned kTimeBits = 32;

std::size_t index_of(const Frame& frame, const Instruction& instruction) {
  return static_cast<std::size_t>(&instruction - frame.execution.kernel.code.data());
}

void write_counts(std::ostream& file, const char* name, const AccessCounts& counts) {
  file << R"(,")" << name << R"(":{"units":)" << counts.units << R"(,"least":)" << counts.least
       << "}";
}

}  // namespace

AccessCounts sectors_of(const std::array<std::uint64_t, kWarp>& addresses, std::uint32_t lanes,
                        std::uint64_t bytes) {
  std::set<std::uint64_t> places;
  std::set<std::uint64_t> sectors;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if ((lanes >> lane & 1u) == 0) continue;
    places.insert(addresses[lane]);
    const std::uint64_t end = addresses[lane] + bytes;
    for (std::uint64_t sector = addresses[lane] / kSectorBytes; sector * kSectorBytes < end;
         ++sector) {
      sectors.insert(sector);
    }
  }
  const std::uint64_t different = places.size() * bytes;
  return {sectors.size(), (different + kSectorBytes - 1) / kSectorBytes};
}

AccessCounts passes_of(const std::array<std::uint64_t, kWarp>& addresses, std::uint32_t lanes,
                       std::uint64_t bytes) {
  const unsigned at_once = static_cast<unsigned>(kWarp * kBankBytes / std::max(bytes, kBankBytes));
  AccessCounts counts;
  for (unsigned first = 0; first < kWarp; first += at_once) {
    std::array<std::set<std::uint64_t>, kBanks> words;
    for (unsigned lane = first; lane < first + at_once; ++lane) {
      if ((lanes >> lane & 1u) == 0) continue;
      const std::uint64_t begin = addresses[lane] / kBankBytes;
      const std::uint64_t end = (addresses[lane] + bytes - 1) / kBankBytes;
      for (std::uint64_t word = begin; word <= end; ++word) words[word % kBanks].insert(word);
    }
    std::size_t most = 0;
    std::size_t all = 0;
    for (const auto& bank : words) {
      most = std::max(most, bank.size());
      all += bank.size();
    }
    counts.units += most;
    counts.least += (all + kBanks - 1) / kBanks;
  }
  return counts;
}

AccessReport* AccessReport::wanted() {
  static AccessReport* const report = [] {
    const char* const path = std::getenv("ALPHAMARGIN_EMULATED_ACCESSES");
    if (path == nullptr) return static_cast<AccessReport*>(nullptr);
    static AccessReport instance;
    static const std::string file = path;
    std::atexit([] { wanted()->write(file); });
    return &instance;
  }();
  return report;
}

AccessReport::Kernel& AccessReport::kernel_of(const Frame& frame) {
  const Function& function = frame.execution.kernel;
  Kernel& kernel = kernels_[&function];
  if (kernel.lines.empty()) {
    kernel.executed.resize(function.code.size());
    kernel.lines.resize(function.code.size());
  }
  return kernel;
}

std::uint64_t* AccessReport::executed(const Frame& frame) {
  return kernel_of(frame).executed.data();
}

void AccessReport::begin_thread(const Frame& frame) {
  times_[&Launch::current().running()].assign(2 * frame.function.code.size(), 0);
}

void AccessReport::record(const Frame& frame, const Instruction& instruction, std::uint64_t address,
                          std::size_t bytes, bool is_shared) {
  if (&frame.function != &frame.execution.kernel) return;
  const std::size_t index = 2 * index_of(frame, instruction) + (is_shared ? 1 : 0);
  const Thread& thread = Launch::current().running();
  const std::uint64_t time = times_[&thread][index]++;
  const std::uint64_t warp = thread.block->rank * 32u + thread.linear / kWarp;
  const std::uint64_t key =
      (warp << kInstructionBits | index) << kTimeBits | (time & ((1ull << kTimeBits) - 1));
  Request& request = requests_[key];
  request.addresses[thread.linear % kWarp] = address;
  request.lanes |= 1u << (thread.linear % kWarp);
  request.bytes = static_cast<std::uint8_t>(bytes);
}

void AccessReport::record_tile(const Frame& frame, const Instruction& instruction,
                               std::size_t bytes) {
  AccessCounts& counts = kernel_of(frame).lines[index_of(frame, instruction)].global;
  counts.units += bytes / kSectorBytes;
  counts.least += bytes / kSectorBytes;
}

void AccessReport::end_thread(const Frame& frame) {
  Kernel& kernel = kernel_of(frame);
  if (launch_ != frame.execution.number) {
    launch_ = frame.execution.number;
    returned_ = 0;
    ++kernel.launches;
  }
  const Launch& launch = Launch::current();
  if (++returned_ < launch.cluster_size() * launch.block_size().count()) return;
  returned_ = 0;
  sum_up(kernel);
}

void AccessReport::sum_up(Kernel& kernel) {
  for (const auto& [key, request] : requests_) {
    const auto index = static_cast<std::size_t>(key >> kTimeBits & ((1u << kInstructionBits) - 1));
    const bool is_shared = index % 2 == 1;
    Line& line = kernel.lines[index / 2];
    AccessCounts& sum = is_shared ? line.shared : line.global;
    const AccessCounts counts = is_shared
                                    ? passes_of(request.addresses, request.lanes, request.bytes)
                                    : sectors_of(request.addresses, request.lanes, request.bytes);
    sum.units += counts.units;
    sum.least += counts.least;
  }
  requests_.clear();
}

void AccessReport::write(const std::string& path) const {
  std::ofstream file(path);
  const char* separator = "[\n";
  for (const auto& [function, kernel] : kernels_) {
    file << separator << R"({"kernel":")" << function->name << R"(","launches":)" << kernel.launches
         << R"(,"instructions":)";
    separator = ",\n";
    const char* inner = "[\n ";
    for (std::size_t i = 0; i < kernel.lines.size(); ++i) {
      if (kernel.executed[i] == 0) continue;
      const Instruction& instruction = function->code[i];
      file << inner << R"({"opcode":")" << instruction.opcode << R"(","source":")"
           << instruction.source << ":" << instruction.source_line << R"(","executed":)"
           << kernel.executed[i];
      write_counts(file, "global", kernel.lines[i].global);
      write_counts(file, "shared", kernel.lines[i].shared);
      file << "}";
      inner = ",\n ";
    }
    file << "]}";
  }
  file << "\n]\n";
}

}  // namespace alphamargin::emulated::ptx
