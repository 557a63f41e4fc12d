#pragma once
// The state of the kernel launch that is running: grid, block, threads, shared memory. Threads of a
// block are fibres; they switch at barriers and warp operations only, so what a kernel does between
// two of them is plain code at full speed.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

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

enum class Waiting { kNothing, kBlock, kWarp };

struct Thread {
  Fibre fibre;
  dim3 index;
  unsigned linear = 0;
  bool done = false;
  Waiting waiting = Waiting::kNothing;
  std::source_location place;  // of the barrier or warp operation it waits at
  const char* operation = "";  // its name
  unsigned mask = 0;           // lanes that take part
  void (*combine)(unsigned char (*lanes)[kLaneBytes]) = nullptr;  // once, when all have arrived
  std::size_t bytes = 0;
  alignas(16) unsigned char value[kLaneBytes];  // what this lane hands over
  unsigned char (*seen)[kLaneBytes] = nullptr;  // what all lanes handed over
  std::vector<PendingCopy> copies;
  unsigned copy_group = 0;  // of the copies issued next
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
  Launch(const char* kernel, dim3 grid, dim3 block, std::size_t shared_bytes, std::uint64_t seed);
  ~Launch();

  // Runs body() as every thread of every block, blocks, warps and lanes in the order of the seed.
  // Throws DeviceFault.
  void run(const std::function<void()>& body);

  // The launch that runs on this thread; only valid inside a kernel.
  static Launch& current();

  const dim3& thread_index() const { return running_->index; }
  const dim3& block_index() const { return block_index_; }
  const dim3& block_size() const { return block_; }
  const dim3& grid_size() const { return grid_; }
  unsigned lane() const { return running_->linear % kWarp; }

  void block_barrier(std::source_location place);
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
  void* dynamic_shared() { return dynamic_; }
  std::size_t dynamic_shared_bytes() const { return shared_bytes_; }

  [[noreturn]] void fault(const std::string& message) const;

  // Of the launch's own sequence, which the device's seed begins.
  std::uint64_t next_random();

 private:
  void run_block();
  bool run_warp(std::size_t warp);  // true if a lane made progress
  bool release_lanes(std::size_t warp);
  void check_block_barrier();
  void free_shared();
  void check_shared() const;
  static void thread_entry(void* launch);

  const char* kernel_;
  dim3 grid_;
  dim3 block_;
  std::size_t shared_bytes_;
  std::uint64_t seed_;
  std::uint64_t random_;
  dim3 block_index_;
  const std::function<void()>* body_ = nullptr;
  Thread* running_ = nullptr;
  std::vector<Thread*> threads_;
  std::vector<unsigned> lane_order_;
  std::vector<std::unique_ptr<unsigned char[][kLaneBytes]>> snapshots_;  // of a warp, per lane
  struct SharedArray {
    void* memory;
    std::size_t bytes;
  };
  std::map<const void*, SharedArray> shared_;
  void* dynamic_ = nullptr;
  std::string failure_;
};

// Read at every threadIdx.
extern constinit thread_local Launch* current_launch;

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
