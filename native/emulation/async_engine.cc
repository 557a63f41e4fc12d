#include "emulation/async_engine.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "emulation/cuda_dialect.h"
#include "emulation/launch_state.h"
#include "emulation/tensor_elements.h"

namespace alphamargin::emulated {
namespace {

constexpr std::size_t kMostBarrierBytes = (std::size_t{1} << 19) - 1;
constexpr unsigned kWarpRows = 16;
constexpr unsigned kDepthWords = 8;
constexpr unsigned kWarpsOfGroup = 4;

PhaseState state_of(const std::uint64_t& barrier) {
  PhaseState state;
  std::memcpy(&state, &barrier, sizeof state);
  return state;
}

// Fields of a matrix descriptor (PTX manual, "Matrix Descriptor Format").
struct Operand {
  std::uint32_t start;
  std::uint32_t stride;  // from 8 rows to the next 8

  Operand(Launch& launch, std::uint64_t descriptor)
      : start(static_cast<std::uint32_t>(descriptor & 0x3fffu) << 4),
        stride(static_cast<std::uint32_t>(descriptor >> 32 & 0x3fffu) << 4) {
    if (descriptor >> 62 != 1) launch.fault("wgmma: an operand without the swizzle of 128 bytes");
    if ((descriptor >> 49 & 7u) != 0) launch.fault("wgmma: an operand with a base offset");
    // By 32, 64 or 96 bytes at most: the hardware swizzles by the address.
    if (start % (8 * kTileRowBytes) >= kTileRowBytes) {
      launch.fault("wgmma: an operand that does not begin at a multiple of 1024 bytes");
    }
    if (start % 16 != 0 || stride != 8 * kTileRowBytes) {
      launch.fault("wgmma: an operand whose rows are not tiles of 8 × 128 bytes");
    }
  }
  // The 32 bytes of a row.
  template <class Elements, unsigned kDepth>
  void read(Launch& launch, unsigned rank, unsigned row,
            typename Elements::Sum (&out)[kDepth]) const {
    static_assert(kDepth == kDepthWords * Elements::kOfWord);
    constexpr unsigned kOfChunk = kTileChunkBytes / sizeof(std::uint32_t);
    for (unsigned word = 0; word < kDepthWords; word += kOfChunk) {
      const std::uint32_t address = start + row / 8 * stride + row % 8 * kTileRowBytes + 4 * word;
      std::uint32_t words[kOfChunk];
      std::memcpy(words, launch.shared_place(rank, swizzled_address(address), sizeof words),
                  sizeof words);
      for (unsigned i = 0; i < kOfChunk * Elements::kOfWord; ++i) {
        out[word * Elements::kOfWord + i] =
            Elements::at(words[i / Elements::kOfWord], i % Elements::kOfWord);
      }
    }
  }
};

}  // namespace

// The lanes of the warp hold the rows lane/4 and lane/4 + 8 of its 16, columns
// 8 n + 2 (lane mod 4) + {0, 1}.
template <class Elements>
void multiply_by(Launch& launch, const Thread* const (&lanes)[kProductLanes], std::size_t index,
                 unsigned warp_of_group) {
  using Sum = typename Elements::Sum;
  using Exact = typename Elements::Exact;
  constexpr unsigned kDepth = kDepthWords * Elements::kOfWord;
  const PendingProduct& product = lanes[0]->products[index];
  const Operand rows(launch, product.rows);
  const Operand columns(launch, product.columns);
  const unsigned rank = lanes[0]->block->rank;
  Sum a[kWarpRows][kDepth];
  Sum b[kDepth][kProductColumns];
  Exact sums[kWarpRows][kProductColumns] = {};
  for (unsigned row = 0; row < kWarpRows; ++row) {
    rows.read<Elements>(launch, rank, warp_of_group * kWarpRows + row, a[row]);
  }
  for (unsigned column = 0; column < kProductColumns; ++column) {
    Sum values[kDepth];
    columns.read<Elements>(launch, rank, column, values);
    for (unsigned k = 0; k < kDepth; ++k) b[k][column] = values[k];
  }
  const auto exchange = [&](bool is_load) {
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      auto* const own = static_cast<Sum*>(lanes[lane]->products[index].sums);
      for (unsigned i = 0; i < kProductSums; ++i) {
        Exact& sum = sums[lane / 4 + 8 * (i / 2 % 2)][8 * (i / 4) + 2 * (lane % 4) + i % 2];
        if (is_load) {
          sum = own[i];
        } else {
          own[i] = Elements::rounded(sum);
        }
      }
    }
  };
  if (product.accumulates) exchange(true);
  add_products(a, b, sums);
  exchange(false);
}
template void multiply_by<HalfElements>(Launch&, const Thread* const (&)[kProductLanes],
                                        std::size_t, unsigned);
template void multiply_by<Bfloat16Elements>(Launch&, const Thread* const (&)[kProductLanes],
                                            std::size_t, unsigned);
template void multiply_by<Int8Elements>(Launch&, const Thread* const (&)[kProductLanes],
                                        std::size_t, unsigned);

namespace {

static_assert(kProductLanes == kWarp);

// Called when all lanes of a warp wait: each has handed over its Thread and what may be pending.
struct Wait {
  Thread* thread;
  unsigned pending;
};

void finish_products_of_warp(unsigned char (*values)[kLaneBytes]) {
  Launch& launch = Launch::current();
  const Thread* lanes[kWarp];
  unsigned pending = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const auto wait = lane_value<Wait>(values, lane);
    lanes[lane] = wait.thread;
    pending = wait.pending;
  }
  const std::vector<PendingProduct>& first = lanes[0]->products;
  std::size_t done = 0;
  while (done < first.size() && first[done].group + pending < lanes[0]->product_group) ++done;
  for (std::size_t i = 0; i < done; ++i) {
    for (const Thread* thread : lanes) {
      if (thread->products.size() != first.size() || thread->products[i].rows != first[i].rows ||
          thread->products[i].columns != first[i].columns ||
          thread->products[i].accumulates != first[i].accumulates ||
          thread->products[i].group != first[i].group ||
          thread->products[i].multiply != first[i].multiply) {
        launch.fault("wgmma: the lanes of a warp have issued different products");
      }
    }
    first[i].multiply(launch, lanes, i, lanes[0]->linear / kWarp % kWarpsOfGroup);
  }
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    auto& products = lane_value<Wait>(values, lane).thread->products;
    products.erase(products.begin(), products.begin() + static_cast<std::ptrdiff_t>(done));
  }
}

}  // namespace

bool phase_is_complete(const std::uint64_t& barrier, unsigned parity) {
  const PhaseState state = state_of(barrier);
  if (state.is_valid != 1) Launch::current().fault("a wait for a barrier that was not initialised");
  return state.phase != parity;
}

void AsyncEngine::reset() { copies_.clear(); }

bool AsyncEngine::deliver_one() {
  if (copies_.empty()) return false;
  // In any order: nothing but the barrier says that a copy has arrived.
  const std::size_t chosen = static_cast<std::size_t>(launch_.next_random() % copies_.size());
  const Copy copy = copies_[chosen];
  copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(chosen));
  deliver(copy);
  return true;
}

void AsyncEngine::check_finished() const {
  if (!copies_.empty()) launch_.fault("a block returned before its copies had arrived");
}

void AsyncEngine::init(std::uint64_t* barrier, unsigned arrivals) {
  if (arrivals == 0 || arrivals > 255) launch_.fault("a barrier of 0 or more than 255 arrivals");
  const auto count = static_cast<std::uint8_t>(arrivals);
  const PhaseState state{count, count, 0, 1, 0};
  std::memcpy(barrier, &state, sizeof state);
}

PhaseState& AsyncEngine::state(std::uint32_t address, unsigned rank) {
  if (launch_.has_returned(rank)) launch_.fault("an arrival at a block that has returned");
  auto& barrier =
      *reinterpret_cast<PhaseState*>(launch_.shared_place(rank, address, sizeof(PhaseState)));
  if (address % sizeof(PhaseState) != 0 || barrier.is_valid != 1) {
    launch_.fault("a barrier that was not initialised");
  }
  return barrier;
}

void AsyncEngine::finish_phase(PhaseState& barrier) {
  if (barrier.pending != 0 || barrier.bytes != 0) return;
  barrier.phase ^= 1u;
  barrier.pending = barrier.expected;
}

void AsyncEngine::arrive(const std::uint64_t* barrier, unsigned rank, std::size_t bytes) {
  PhaseState& found = state(launch_.shared_address(barrier), rank);
  if (found.pending == 0) launch_.fault("more arrivals at a barrier than it expects");
  if (bytes > kMostBarrierBytes) launch_.fault("a barrier cannot count so many bytes");
  found.bytes += static_cast<std::int32_t>(bytes);
  --found.pending;
  finish_phase(found);
}

void AsyncEngine::copy_tile(void* target, const TileMap& map, std::size_t column, std::size_t row,
                            const std::uint64_t* barrier, unsigned ranks) {
  const std::uint32_t address = launch_.shared_address(target);
  if (address % kTileRowBytes != 0) launch_.fault("a tile that does not begin with a row");
  for (unsigned rank = 0; rank < launch_.cluster_size(); ++rank) {
    if ((ranks >> rank & 1u) == 0) continue;
    const Copy copy{map, column, row, address, launch_.shared_address(barrier), rank};
    // At once, or when everybody waits.
    if (launch_.next_random() % 2 == 0) {
      deliver(copy);
    } else {
      copies_.push_back(copy);
    }
  }
}

void AsyncEngine::deliver(const Copy& copy) {
  const TileMap& map = copy.map;
  for (std::size_t i = 0; i < map.tile_rows; ++i) {
    const std::size_t row = copy.row + i;
    for (std::size_t byte = 0; byte < kTileRowBytes; byte += kTileChunkBytes) {
      const auto place = static_cast<std::uint32_t>(copy.target + i * kTileRowBytes + byte);
      unsigned char* const target =
          launch_.shared_place(copy.rank, swizzled_address(place), kTileChunkBytes);
      const std::size_t column = copy.column + byte;
      std::memset(target, 0, kTileChunkBytes);
      if (row >= map.rows || column >= map.row_bytes) continue;
      std::memcpy(target, map.base + row * map.pitch + column,
                  std::min<std::size_t>(kTileChunkBytes, map.row_bytes - column));
    }
  }
  PhaseState& barrier = state(copy.barrier, copy.rank);
  barrier.bytes -= static_cast<std::int32_t>(map.tile_rows * kTileRowBytes);
  finish_phase(barrier);
}

void finish_products(unsigned pending) {
  Launch& launch = Launch::current();
  // The others go on meanwhile: who gave operands back before this reads what they write.
  launch.yield();
  const Wait wait{&launch.running(), pending};
  launch.exchange("wgmma.wait_group", 0xffffffffu, &wait, sizeof wait,
                  std::source_location::current(), &finish_products_of_warp);
}

}  // namespace alphamargin::emulated
