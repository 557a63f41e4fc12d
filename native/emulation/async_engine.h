#pragma once
// What works beside the threads of a Hopper multiprocessor: phase barriers in shared memory
// (mbarrier), copies of tiles into shared memory (TMA), products of a warpgroup (wgmma). Results
// arrive as late as is legal, or at once, by the seed: who does not wait, or gives a tile back too
// early, reads something else.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace alphamargin::emulated {

class Launch;
struct Thread;

// A phase barrier. A phase is complete when all arrivals that were announced have come and all
// bytes that were announced have been copied; the next one begins at once.
struct PhaseState {
  std::uint8_t expected;  // arrivals of a phase
  std::uint8_t pending;   // of the phase that is running
  std::uint8_t phase;     // its parity
  std::uint8_t is_valid;  // initialised
  std::int32_t bytes;     // announced and not yet copied
};
static_assert(sizeof(PhaseState) == sizeof(std::uint64_t));

bool phase_is_complete(const std::uint64_t& barrier, unsigned parity);

// A matrix in device memory of which tiles are copied: rows of `row_bytes`, `pitch` bytes apart.
// What a tile has beyond the matrix is zero. In shared memory the rows of a tile are 128 bytes
// each, and 16-byte chunk c of the row at address a lies at c ^ (a/128 mod 8).
struct TileMap {
  const unsigned char* base = nullptr;
  std::uint64_t rows = 0;
  std::uint64_t row_bytes = 0;
  std::uint64_t pitch = 0;
  std::uint64_t tile_rows = 0;
};
inline constexpr std::size_t kTileRowBytes = 128;
inline constexpr unsigned kProductColumns = 256;
inline constexpr unsigned kProductSums = 128;  // of a lane
inline constexpr unsigned kProductLanes = 32;
inline constexpr std::size_t kTileChunkBytes = 16;

// Where byte `address` of an unswizzled tile lies.
inline std::uint32_t swizzled_address(std::uint32_t address) {
  return address ^ (address >> 7 & 7u) << 4;
}

// A product that has been issued: rows of 16 of a warp times 256 columns, over 32 bytes of k.
// Operands are read, and sums written, when the warp waits for it.
struct PendingProduct {
  std::uint64_t rows;  // descriptors
  std::uint64_t columns;
  void* sums;  // kProductSums of this lane
  bool accumulates;
  unsigned group;
  // For all lanes of the warp: by the elements of the operands.
  void (*multiply)(Launch& launch, const Thread* const (&lanes)[kProductLanes], std::size_t index,
                   unsigned warp_of_group);
};

// PendingProduct::multiply.
template <class Elements>
void multiply_by(Launch& launch, const Thread* const (&lanes)[kProductLanes], std::size_t index,
                 unsigned warp_of_group);

class AsyncEngine {
 public:
  explicit AsyncEngine(Launch& launch) : launch_(launch) {}

  void reset();
  // Lets one of the copies that are on their way arrive; false when there is none.
  bool deliver_one();
  // A block that returns must not leave copies behind.
  void check_finished() const;

  void init(std::uint64_t* barrier, unsigned arrivals);
  // Of the block `rank` of the cluster; `bytes` are announced first.
  void arrive(const std::uint64_t* barrier, unsigned rank, std::size_t bytes);
  // A tile from (row, byte `column` of the row) to the same place of every block in `ranks`, whose
  // barrier at the same place counts the bytes.
  void copy_tile(void* target, const TileMap& map, std::size_t column, std::size_t row,
                 const std::uint64_t* barrier, unsigned ranks);

 private:
  struct Copy {
    TileMap map;
    std::size_t column;
    std::size_t row;
    std::uint32_t target;
    std::uint32_t barrier;
    unsigned rank;
  };
  PhaseState& state(std::uint32_t address, unsigned rank);
  void deliver(const Copy& copy);
  void finish_phase(PhaseState& barrier);

  Launch& launch_;
  std::vector<Copy> copies_;
};

// wgmma.wait_group for a warp: all its products but those of the last `pending` groups.
void finish_products(unsigned pending);

}  // namespace alphamargin::emulated
