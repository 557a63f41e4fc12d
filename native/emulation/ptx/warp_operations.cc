// Instructions that lanes of a warp carry out together. Those that the manual calls .aligned must
// be the same instruction for all of them.

#include <string>

#include "cuda/warp_mma.cuh"
#include "emulation/ptx/memory.h"

namespace alphamargin::emulated::ptx {
namespace {

constexpr unsigned kLaneBits = 31;

// The lanes of the warp arrive at this instruction, and at no other.
void align(const Instruction& instruction) {
  Launch::current().running().instruction = &instruction;
}

template <class T>
T handed_over(Frame& frame, const Instruction& instruction, unsigned mask, T value, unsigned from) {
  auto* lanes =
      Launch::current().exchange("shfl.sync", mask, &value, sizeof value, Place::current());
  if ((mask >> from & 1u) == 0) {
    fault(frame, instruction, "reads lane " + std::to_string(from) + ", which is not in its mask");
  }
  return lane_value<T>(lanes, from);
}

enum class Direction { kUp, kDown, kAcross, kTo };

template <Direction kDirection>
void shuffle(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  const bool tells = instruction.count == 6;  // whether the lane was in reach
  const Operand* const sources = operands + (tells ? 2 : 1);
  const auto value = value_of<std::uint32_t>(frame, sources[0]);
  const unsigned by = value_of<std::uint32_t>(frame, sources[1]) & kLaneBits;
  const auto control = value_of<std::uint32_t>(frame, sources[2]);
  const auto mask = value_of<std::uint32_t>(frame, sources[3]);
  const unsigned lane = Launch::current().lane();
  const unsigned segment = control >> 8 & kLaneBits;
  const unsigned clamp = control & kLaneBits;
  const unsigned first = lane & segment;
  const int bound = static_cast<int>(first | (clamp & ~segment));
  int from = 0;
  bool is_in_reach = false;
  if constexpr (kDirection == Direction::kUp) {
    from = static_cast<int>(lane) - static_cast<int>(by);
    is_in_reach = from >= bound;
  } else {
    if constexpr (kDirection == Direction::kDown) from = static_cast<int>(lane + by);
    if constexpr (kDirection == Direction::kAcross) from = static_cast<int>(lane ^ by);
    if constexpr (kDirection == Direction::kTo) from = static_cast<int>(first | (by & ~segment));
    is_in_reach = from <= bound;
  }
  const unsigned source = is_in_reach ? static_cast<unsigned>(from) : lane;
  set<std::uint32_t>(frame, operands[0], handed_over(frame, instruction, mask, value, source));
  if (tells) set<bool>(frame, operands[1], is_in_reach);
}

enum class Vote { kBallot, kAny, kAll };

template <Vote kVote>
void vote(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  const auto mask = value_of<std::uint32_t>(frame, operands[2]);
  const int predicate = value_of<bool>(frame, operands[1]) ? 1 : 0;
  const unsigned ballot = __ballot_sync(mask, predicate);
  if constexpr (kVote == Vote::kBallot) set<std::uint32_t>(frame, operands[0], ballot);
  if constexpr (kVote == Vote::kAny) set<bool>(frame, operands[0], ballot != 0);
  if constexpr (kVote == Vote::kAll) set<bool>(frame, operands[0], ballot == mask);
}

void warp_barrier(Frame& frame, const Instruction& instruction) {
  __syncwarp(value_of<std::uint32_t>(frame, instruction.operands[0]));
}

void block_barrier(Frame& frame, const Instruction& instruction) {
  if (instruction.count != 1 || value_of<std::uint32_t>(frame, instruction.operands[0]) != 0) {
    fault(frame, instruction, "only barrier 0 of all threads is known");
  }
  align(instruction);
  Launch::current().block_barrier(Place::current());
}

// The barrier, and whether the predicate holds for a thread of the block.
void block_any(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  if (instruction.count != 3 || value_of<std::uint32_t>(frame, operands[1]) != 0) {
    fault(frame, instruction, "only barrier 0 of all threads is known");
  }
  align(instruction);
  set<bool>(frame, operands[0],
            Launch::current().block_any(value_of<bool>(frame, operands[2]), Place::current()));
}

// Of all lanes; nothing is handed over.
void aligned(Frame&, const Instruction& instruction) {
  align(instruction);
  Launch::current().exchange("an aligned instruction", kFullMask, nullptr, 0, Place::current());
}

template <class Sum, void (*kMultiply)(Sum (&)[4], const MmaA&, const MmaB&)>
void multiply(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  MmaA a;
  MmaB b;
  Sum c[4];
  for (unsigned i = 0; i < 4; ++i) a.words[i] = value_of<std::uint32_t>(frame, operands[4 + i]);
  for (unsigned i = 0; i < 2; ++i) b.words[i] = value_of<std::uint32_t>(frame, operands[8 + i]);
  for (unsigned i = 0; i < 4; ++i) c[i] = value_of<Sum>(frame, operands[10 + i]);
  align(instruction);
  kMultiply(c, a, b);
  for (unsigned i = 0; i < 4; ++i) set<Sum>(frame, operands[i], c[i]);
}

template <void (*kLoad)(std::uint32_t (&)[4], const void*)>
void load_fragments(Frame& frame, const Instruction& instruction) {
  constexpr std::size_t kRowBytes = 16;
  const Operand* operands = instruction.operands;
  const auto address = value_of<std::uint64_t>(frame, operands[4]);
  report_access(frame, instruction, address, kRowBytes, true);
  const unsigned char* const row = shared_memory(frame, instruction, address, kRowBytes, kRowBytes);
  std::uint32_t words[4];
  align(instruction);
  kLoad(words, row);
  for (unsigned i = 0; i < 4; ++i) set<std::uint32_t>(frame, operands[i], words[i]);
}

}  // namespace

void add_warp_operations(OperationTable& table) {
  table["shfl.sync.up.b32"] = &shuffle<Direction::kUp>;
  table["shfl.sync.down.b32"] = &shuffle<Direction::kDown>;
  table["shfl.sync.bfly.b32"] = &shuffle<Direction::kAcross>;
  table["shfl.sync.idx.b32"] = &shuffle<Direction::kTo>;
  table["vote.sync.ballot.b32"] = table["vote.ballot.sync.b32"] = &vote<Vote::kBallot>;
  table["vote.sync.any.pred"] = &vote<Vote::kAny>;
  table["vote.sync.all.pred"] = &vote<Vote::kAll>;
  table["bar.warp.sync"] = &warp_barrier;
  table["bar.sync"] = &block_barrier;
  table["bar.red.or.pred"] = &block_any;
  table["mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"] = &multiply<float, &mma_m16n8k16>;
  table["mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"] =
      &multiply<float, &mma_m16n8k16_bfloat16>;
  table["mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32"] = &multiply<std::int32_t, &mma_m16n8k32>;
  table["ldmatrix.sync.aligned.m8n8.x4.shared.b16"] = &load_fragments<&load_matrices>;
  table["ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16"] = &load_fragments<&load_transposed>;
  table["setmaxnreg.inc.sync.aligned.u32"] = &aligned;
  table["setmaxnreg.dec.sync.aligned.u32"] = &aligned;
  table["wgmma.fence.sync.aligned"] = &aligned;
}

}  // namespace alphamargin::emulated::ptx
