#pragma once
// The state of the kernel launch that is running: grid, cluster, blocks, threads, shared memory.
// Threads of a block are fibres; they switch at barriers and warp operations only, so what a kernel
// does between two of them is plain code at full speed. Blocks run one after another, those of a
// cluster side by side.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "emulation/async_engine.h"
#include "emulation/fibre.h"

namespace alphamargin::emulated {

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  std::size_t count() const { return std::size_t{x} * y * z; }
};

inline constexpr unsigned kWarp = 32;
// Largest value a lane can hand to the others: an mma fragment.
inline constexpr std::size_t kLaneBytes = 64;

// A cp.async that has been issued: its bytes arrive when the thread waits for them, not before.
struct PendingCopy {
  void* target;
  const void* source;
  std::size_t bytes;
  unsigned group;
};

enum class Waiting { kNothing, kBlock, kWarp, kPhase, kCluster };

// A block that runs: its place in the grid and its shared memory.
struct Block {
  struct SharedArray {
    std::unique_ptr<unsigned char[]> allocation;  // memory within it, between two guards
    unsigned char* memory = nullptr;
    std::size_t bytes = 0;
  };

  dim3 index;
  unsigned rank = 0;   // within its cluster
  bool votes[3] = {};  // at barriers that take them: of one, the one before, the one after
  std::map<const void*, SharedArray> shared;
  SharedArray dynamic;
};

struct Thread {
  Fibre fibre;
  Block* block = nullptr;
  dim3 index;
  unsigned linear = 0;  // within its block
  bool done = false;
  Waiting waiting = Waiting::kNothing;
  std::source_location place;         // of the barrier or warp operation it waits at
  const char* operation = "";         // its name
  const void* instruction = nullptr;  // in PTX, of what must be the same for all lanes
  unsigned mask = 0;                  // lanes that take part
  void (*combine)(unsigned char (*lanes)[kLaneBytes]) = nullptr;  // once, when all have arrived
  std::size_t bytes = 0;
  alignas(16) unsigned char value[kLaneBytes];  // what this lane hands over
  unsigned char (*seen)[kLaneBytes] = nullptr;  // what all lanes handed over
  std::vector<PendingCopy> copies;
  unsigned copy_group = 0;                       // of the copies issued next
  unsigned vote = 0;                             // which of its block's comes next
  const std::uint64_t* phase_barrier = nullptr;  // whose phase it waits for
  unsigned parity = 0;                           // of that phase
  std::vector<PendingProduct> products;
  unsigned product_group = 0;  // of the products issued next
};

// Misuse of the device by a kernel, naming it; becomes the failure of the launch.
struct DeviceFault {
  std::string message;
};

// Reads of shared memory that take more cycles than their bytes need, of all launches so far.
void count_bank_conflict();
std::uint64_t bank_conflicts();

class Launch {
 public:
  // `cluster`: blocks along x that run side by side and may reach each other's shared memory.
  Launch(const char* kernel, dim3 grid, dim3 block, std::size_t shared_bytes, std::uint64_t seed,
         unsigned cluster = 1);
  ~Launch();

  // Runs body() as every thread of every block, blocks, warps and lanes in the order of the seed.
  // Throws DeviceFault.
  void run(const std::function<void()>& body);

  // The launch that runs; only valid inside a kernel.
  static Launch& current();

  const dim3& thread_index() const { return running_->index; }
  const dim3& block_index() const { return running_->block->index; }
  unsigned cluster_rank() const { return running_->block->rank; }
  unsigned cluster_size() const { return cluster_; }
  const dim3& block_size() const { return block_; }
  const dim3& grid_size() const { return grid_; }
  unsigned lane() const { return running_->linear % kWarp; }

  Thread& running() { return *running_; }

  void block_barrier(std::source_location place);
  // Whether the predicate holds for any thread of the block, once all have arrived.
  bool block_any(bool predicate, std::source_location place);
  void cluster_barrier(std::source_location place);
  // Lets the other warps run.
  void yield() { running_->fibre.suspend(); }
  // Until the phase of that parity of a barrier in shared memory is complete.
  void phase_wait(const std::uint64_t* barrier, unsigned parity, std::source_location place);
  // Hands `bytes` bytes over and waits for the lanes of the mask; returns what they handed over,
  // valid until the lane's next operation.
  unsigned char (*exchange(const char* operation, unsigned mask, const void* value,
                           std::size_t bytes, std::source_location place,
                           void (*combine)(unsigned char (*)[kLaneBytes]) = nullptr))[kLaneBytes];

  // cp.async: issue, close a group, wait until at most `pending` groups are outstanding.
  void copy_async(void* target, const void* source, std::size_t bytes);
  void copy_async_commit() { ++running_->copy_group; }
  void copy_async_wait(unsigned pending);

  // Shared memory of the block: one allocation of its own for every array, filled with a pattern.
  void* shared_array(const void* key, std::size_t bytes, std::size_t alignment);
  void* dynamic_shared() { return running_->block->dynamic.memory; }
  std::size_t dynamic_shared_bytes() const { return shared_bytes_; }
  // An address within the dynamic shared memory of the running block, as its distance from the
  // start, and the same place in a block of the cluster.
  std::uint32_t shared_address(const void* place) const;
  unsigned char* shared_place(unsigned rank, std::size_t address, std::size_t bytes);

  // Whether all threads of a block of the cluster have.
  bool has_returned(unsigned rank) const;

  AsyncEngine& engine() { return engine_; }

  [[noreturn]] void fault(const std::string& message) const;
  [[noreturn]] void missing_lane(const char* operation, unsigned lane,
                                 std::source_location place) const;

  // Of the launch's own sequence, which the device's seed begins.
  std::uint64_t next_random();

 private:
  void run_cluster();
  bool run_warp(std::size_t warp);  // true if lanes were released
  bool release_lanes(std::size_t warp);
  bool release_blocks();
  bool release_cluster();
  [[noreturn]] void report_deadlock() const;
  void suspend(Waiting waiting, const char* operation, std::source_location place);
  void make_shared(Block& block);
  void free_shared();
  void check_shared() const;
  static void thread_entry(void* launch);

  const char* kernel_;
  dim3 grid_;
  dim3 block_;
  std::size_t shared_bytes_;
  std::uint64_t seed_;
  unsigned cluster_;
  std::uint64_t random_;
  std::vector<Block> blocks_;  // of the cluster that runs
  const std::function<void()>* body_ = nullptr;
  Thread* running_ = nullptr;
  std::vector<Thread*> threads_;
  std::vector<unsigned> lane_order_;
  std::vector<std::unique_ptr<unsigned char[][kLaneBytes]>> snapshots_;  // of a warp, per lane
  bool resumed_ = false;  // whether a thread ran in this round
  AsyncEngine engine_{*this};
  std::string failure_;
};

// Read at every threadIdx. The device runs one kernel at a time (runtime_api.cc), so it is not
// thread_local: in a library that is loaded late each access would be a call.
extern constinit Launch* current_launch;

inline Launch& Launch::current() { return *current_launch; }

// Bytes behind an allocation that a write beyond its end would change. Under AddressSanitizer they
// are poisoned instead, so that reads are found too, and at once.
inline constexpr std::size_t kGuardBytes = 64;
void set_guard(void* guard);
bool guard_is_intact(const void* guard);
void clear_guard(void* guard);

// Fills memory that no kernel has written with a pattern of the seed: what reads it gives another
// result for another seed (0: all ones, a NaN).
void fill_uninitialised(void* memory, std::size_t bytes, std::uint64_t seed);

}  // namespace alphamargin::emulated
