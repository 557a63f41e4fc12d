// Instructions whose work is done beside the thread: copies into shared memory, barriers that count
// their bytes, products of a warpgroup.

#include <algorithm>
#include <string>

#include "cuda/warpgroup_mma.cuh"
#include "emulation/ptx/memory.h"
#include "emulation/tensor_elements.h"

namespace alphamargin::emulated::ptx {
namespace {

// An address of the cluster's shared memory: of a block's, with one more than its rank above.
constexpr unsigned kRankPlace = 24;

void nothing(Frame&, const Instruction&) {}

void yield(Frame&, const Instruction&) { Launch::current().yield(); }

void copy(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  const std::size_t bytes = value_of<std::uint32_t>(frame, operands[2]);
  const auto to = value_of<std::uint64_t>(frame, operands[0]);
  const auto from = value_of<std::uint64_t>(frame, operands[1]);
  report_access(frame, instruction, to, bytes, true);
  report_access(frame, instruction, from, bytes, false);
  Launch::current().copy_async(shared_memory(frame, instruction, to, bytes, bytes),
                               global_memory(frame, instruction, from, bytes, bytes), bytes);
}
void commit_copies(Frame&, const Instruction&) { Launch::current().copy_async_commit(); }
void wait_for_copies(Frame& frame, const Instruction& instruction) {
  Launch::current().copy_async_wait(value_of<std::uint32_t>(frame, instruction.operands[0]));
}

std::uint64_t* phase_barrier(Frame& frame, const Instruction& instruction, std::uint64_t address) {
  return reinterpret_cast<std::uint64_t*>(
      shared_memory(frame, instruction, address, sizeof(std::uint64_t), sizeof(std::uint64_t)));
}

void init_phase_barrier(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  const auto address = value_of<std::uint64_t>(frame, operands[0]);
  Launch::current().engine().init(phase_barrier(frame, instruction, address),
                                  value_of<std::uint32_t>(frame, operands[1]));
}
void arrive_expecting_bytes(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  Launch& launch = Launch::current();
  const auto address = value_of<std::uint64_t>(frame, operands[1]);
  launch.engine().arrive(phase_barrier(frame, instruction, address), launch.cluster_rank(),
                         value_of<std::uint32_t>(frame, operands[2]));
}
void map_address(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  const auto rank = value_of<std::uint32_t>(frame, operands[2]);
  if (rank >= Launch::current().cluster_size()) {
    fault(frame, instruction, "block " + std::to_string(rank) + " is not in the cluster");
  }
  set<std::uint32_t>(frame, operands[0],
                     value_of<std::uint32_t>(frame, operands[1]) + ((rank + 1) << kRankPlace));
}
void arrive_in_cluster(Frame& frame, const Instruction& instruction) {
  const auto address = value_of<std::uint32_t>(frame, instruction.operands[1]);
  Launch& launch = Launch::current();
  const unsigned rank = address >> kRankPlace;
  const std::uint32_t own = address & ((1u << kRankPlace) - 1);
  launch.engine().arrive(phase_barrier(frame, instruction, own),
                         rank == 0 ? launch.cluster_rank() : rank - 1, 0);
}
void wait_for_phase(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  const auto address = value_of<std::uint64_t>(frame, operands[1]);
  Launch::current().phase_wait(phase_barrier(frame, instruction, address),
                               value_of<std::uint32_t>(frame, operands[2]), Place::current());
  set<bool>(frame, operands[0], true);
}

// A tile by (byte, row); the map is a parameter of the kernel.
template <bool kToAll>
void copy_tile(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  Launch& launch = Launch::current();
  const auto place = value_of<std::uintptr_t>(frame, operands[1]);
  const auto parameters = reinterpret_cast<std::uintptr_t>(frame.parameters);
  constexpr std::uintptr_t kMapAlignment = 64;
  if (place < parameters || place + sizeof(TileMap) > parameters + frame.function.parameter_bytes ||
      (place - parameters) % kMapAlignment != 0) {
    fault(frame, instruction, "the map of a tile is not a parameter of the kernel");
  }
  TileMap map;
  std::memcpy(&map, reinterpret_cast<const void*>(place), sizeof map);
  const auto byte = value_of<std::int32_t>(frame, operands[2]);
  const auto row = value_of<std::int32_t>(frame, operands[3]);
  if (byte < 0 || row < 0) fault(frame, instruction, "a tile in front of its matrix");
  unsigned char* const target =
      shared_memory(frame, instruction, value_of<std::uint64_t>(frame, operands[0]),
                    map.tile_rows * kTileRowBytes, kTileRowBytes);
  if (frame.execution.accesses != nullptr) {
    frame.execution.accesses->record_tile(frame, instruction, map.tile_rows * kTileRowBytes);
  }
  const auto barrier = value_of<std::uint64_t>(frame, operands[4]);
  const unsigned ranks =
      kToAll ? value_of<std::uint16_t>(frame, operands[5]) : 1u << launch.cluster_rank();
  if (ranks >> launch.cluster_size() != 0) {
    fault(frame, instruction, "a tile for a block that the cluster does not have");
  }
  launch.engine().copy_tile(target, map, static_cast<std::size_t>(byte),
                            static_cast<std::size_t>(row),
                            phase_barrier(frame, instruction, barrier), ranks);
}

void arrive_at_cluster(Frame& frame, const Instruction&) { frame.has_arrived_at_cluster = true; }
void wait_for_cluster(Frame& frame, const Instruction& instruction) {
  if (!frame.has_arrived_at_cluster) {
    fault(frame, instruction, "a wait for the cluster without an arrival");
  }
  frame.has_arrived_at_cluster = false;
  Launch::current().cluster_barrier(Place::current());
}

// The sums that lie in these registers: a product begins with what it finds there, or with what the
// last one leaves.
PendingSums& sums_of(Frame& frame, const Operand* registers) {
  const auto is_same = [&](const auto& sums) {
    return std::equal(registers, registers + kProductSums, sums->registers,
                      [](const Operand& a, const Operand& b) { return a.slot == b.slot; });
  };
  const auto found = std::find_if(frame.sums.begin(), frame.sums.end(), is_same);
  if (found != frame.sums.end()) return **found;
  frame.sums.push_back(std::make_unique<PendingSums>());
  frame.sums.back()->registers = registers;
  frame.sums.back()->pending = 0;
  return *frame.sums.back();
}

// While a product is on its way its registers hold nothing that may be used.
constexpr std::uint64_t kInFlight = 0xffffffffffffffffu;

template <class Elements>
void issue(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  constexpr bool kIsReal = std::is_same_v<typename Elements::Sum, float>;
  const Operand* const rest = operands + kProductSums;
  const auto is = [&](unsigned i, std::uint32_t wanted) {
    return value_of<std::uint32_t>(frame, rest[i]) == wanted;
  };
  // Neither operand negated, both by rows of k.
  if (kIsReal ? instruction.count != kProductSums + 7 || !is(3, 1) || !is(4, 1) || !is(5, 0) ||
                    !is(6, 0)
              : instruction.count != kProductSums + 3) {
    fault(frame, instruction, "modifiers that are not known");
  }
  PendingSums& sums = sums_of(frame, operands);
  if (sums.pending == 0) {
    for (unsigned i = 0; i < kProductSums; ++i) {
      sums.values[i] = value_of<std::uint32_t>(frame, operands[i]);
    }
  }
  for (unsigned i = 0; i < kProductSums; ++i) frame.registers[operands[i].slot] = kInFlight;
  ++sums.pending;
  Thread& thread = Launch::current().running();
  thread.products.push_back(
      {value_of<std::uint64_t>(frame, rest[0]), value_of<std::uint64_t>(frame, rest[1]),
       sums.values, value_of<bool>(frame, rest[2]), thread.product_group, &multiply_by<Elements>});
  frame.products.push_back({&sums, thread.product_group});
}

void commit_products(Frame&, const Instruction&) { ++Launch::current().running().product_group; }

void wait_for_products(Frame& frame, const Instruction& instruction) {
  const auto pending = value_of<std::uint32_t>(frame, instruction.operands[0]);
  finish_products(pending);
  const unsigned group = Launch::current().running().product_group;
  std::erase_if(frame.products, [&](const IssuedProduct& product) {
    if (product.group + pending >= group) return false;
    PendingSums& sums = *product.sums;
    if (--sums.pending == 0) {
      for (unsigned i = 0; i < kProductSums; ++i) {
        set<std::uint32_t>(frame, sums.registers[i], sums.values[i]);
      }
    }
    return true;
  });
}

}  // namespace

void add_async_operations(OperationTable& table) {
  const std::string tile =
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes";
  table["cp.async.cg.shared.global"] = &copy;
  table["cp.async.commit_group"] = &commit_copies;
  table["cp.async.wait_group"] = &wait_for_copies;
  table["mbarrier.init.shared::cta.b64"] = &init_phase_barrier;
  table["mbarrier.arrive.expect_tx.shared::cta.b64"] = &arrive_expecting_bytes;
  table["mbarrier.arrive.shared::cluster.b64"] = &arrive_in_cluster;
  table["mbarrier.try_wait.parity.shared::cta.b64"] = &wait_for_phase;
  table["mapa.shared::cluster.u32"] = &map_address;
  table[tile] = &copy_tile<false>;
  table[tile + ".multicast::cluster"] = &copy_tile<true>;
  table["barrier.cluster.arrive.release.aligned"] = &arrive_at_cluster;
  table["barrier.cluster.wait.acquire.aligned"] = &wait_for_cluster;
  table["wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16"] = &issue<HalfElements>;
  table["wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16"] = &issue<Bfloat16Elements>;
  table["wgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8"] = &issue<Int8Elements>;
  table["wgmma.commit_group.sync.aligned"] = &commit_products;
  table["wgmma.wait_group.sync.aligned"] = &wait_for_products;
  // One thread runs at a time, and what it writes is seen at once.
  table["fence.mbarrier_init.release.cluster"] = &nothing;
  table["membar.cta"] = table["membar.gl"] = &nothing;
  table["nanosleep.u32"] = &yield;
}

}  // namespace alphamargin::emulated::ptx
