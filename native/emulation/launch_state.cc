#include "emulation/launch_state.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace alphamargin::emulated {

constinit thread_local Launch* current_launch = nullptr;

namespace {

// Fibres are kept for later launches of this thread: a stack costs more than a kernel.
std::vector<std::unique_ptr<Thread>>& kept_threads() {
  thread_local std::vector<std::unique_ptr<Thread>> threads;
  return threads;
}

constexpr unsigned char kGuardPattern = 0xa5;

constinit std::atomic<std::uint64_t> conflicts{0};

std::string describe(const std::source_location& place) {
  std::string file = place.file_name();
  const std::size_t slash = file.rfind('/');
  if (slash != std::string::npos) file = file.substr(slash + 1);
  return file + ":" + std::to_string(place.line());
}

}  // namespace

void fill_uninitialised(void* memory, std::size_t bytes, std::uint64_t seed) {
  const auto pattern = static_cast<int>(seed == 0 ? 0xffu : (seed * 0x9e3779b97f4a7c15u) >> 56);
  std::memset(memory, pattern, bytes);
}

void set_guard(void* guard) {
  std::memset(guard, kGuardPattern, kGuardBytes);
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(guard, kGuardBytes);
#endif
}

bool guard_is_intact(const void* guard) {
#if defined(__SANITIZE_ADDRESS__)
  static_cast<void>(guard);
  return true;  // a write would have been reported
#else
  const auto* bytes = static_cast<const unsigned char*>(guard);
  return std::all_of(bytes, bytes + kGuardBytes,
                     [](unsigned char byte) { return byte == kGuardPattern; });
#endif
}

void clear_guard(void* guard) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(guard, kGuardBytes);
#else
  static_cast<void>(guard);
#endif
}

void count_bank_conflict() { conflicts.fetch_add(1, std::memory_order_relaxed); }
std::uint64_t bank_conflicts() { return conflicts.load(std::memory_order_relaxed); }

Launch::Launch(const char* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
               std::uint64_t seed)
    : kernel_(kernel),
      grid_(grid),
      block_(block),
      shared_bytes_(shared_bytes),
      seed_(seed),
      random_(seed) {}

Launch::~Launch() { free_shared(); }

void Launch::fault(const std::string& message) const {
  throw DeviceFault{std::string("kernel ") + kernel_ + ": " + message};
}

// splitmix64
std::uint64_t Launch::next_random() {
  random_ += 0x9e3779b97f4a7c15u;
  std::uint64_t value = random_;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

void Launch::thread_entry(void* argument) {
  auto& launch = *static_cast<Launch*>(argument);
  try {
    (*launch.body_)();
  } catch (const DeviceFault& fault) {
    launch.failure_ = fault.message;
  }
  launch.running_->done = true;
  launch.running_->fibre.finish();
}

void Launch::run(const std::function<void()>& body) {
  if (grid_.count() == 0 || block_.count() == 0) fault("the grid or the block is empty");
  if (block_.count() > 1024) fault("a block of more than 1024 threads");
  if (grid_.x > 0x7fffffffu || grid_.y > 65535 || grid_.z > 65535) fault("the grid is too large");
  Launch* const outer = std::exchange(current_launch, this);
  body_ = &body;
  auto& kept = kept_threads();
  while (kept.size() < block_.count()) kept.push_back(std::make_unique<Thread>());
  threads_.resize(block_.count());
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    Thread& thread = *kept[i];
    thread.linear = static_cast<unsigned>(i);
    thread.index =
        dim3(static_cast<unsigned>(i % block_.x), static_cast<unsigned>(i / block_.x % block_.y),
             static_cast<unsigned>(i / block_.x / block_.y));
    threads_[i] = &thread;
  }
  snapshots_.resize((threads_.size() + kWarp - 1) / kWarp);
  for (auto& warp : snapshots_) {
    if (!warp) warp.reset(new unsigned char[kWarp * kWarp][kLaneBytes]);
  }
  try {
    const std::size_t blocks = grid_.count();
    // Any order is legal: an affine permutation, since a list of a million blocks is no use.
    std::size_t stride = 1;
    std::size_t offset = 0;
    if (seed_ != 0 && blocks > 1) {
      do {
        stride = static_cast<std::size_t>(next_random() % blocks);
      } while (std::gcd(stride, blocks) != 1);
      offset = static_cast<std::size_t>(next_random() % blocks);
    }
    for (std::size_t i = 0; i < blocks; ++i) {
      const std::size_t block =
          static_cast<std::size_t>((static_cast<unsigned __int128>(i) * stride + offset) % blocks);
      block_index_ = dim3(static_cast<unsigned>(block % grid_.x),
                          static_cast<unsigned>(block / grid_.x % grid_.y),
                          static_cast<unsigned>(block / grid_.x / grid_.y));
      run_block();
    }
  } catch (...) {
    current_launch = outer;
    throw;
  }
  current_launch = outer;
}

void Launch::run_block() {
  free_shared();
  if (shared_bytes_ > 0) {
    if (posix_memalign(&dynamic_, 128, shared_bytes_ + kGuardBytes) != 0) throw std::bad_alloc();
    fill_uninitialised(dynamic_, shared_bytes_, seed_);
    set_guard(static_cast<char*>(dynamic_) + shared_bytes_);
  }
  for (Thread* thread : threads_) {
    thread->done = false;
    thread->waiting = Waiting::kNothing;
    thread->copies.clear();
    thread->copy_group = 0;
    thread->fibre.prepare(&Launch::thread_entry, this);
  }
  const std::size_t warps = snapshots_.size();
  std::vector<std::size_t> order(warps);
  std::iota(order.begin(), order.end(), std::size_t{0});
  lane_order_.resize(kWarp);
  std::iota(lane_order_.begin(), lane_order_.end(), 0u);
  for (;;) {
    if (seed_ != 0) {
      for (std::size_t i = warps; i > 1; --i) std::swap(order[i - 1], order[next_random() % i]);
      for (std::size_t i = kWarp; i > 1; --i) {
        std::swap(lane_order_[i - 1], lane_order_[next_random() % i]);
      }
    }
    for (const std::size_t warp : order) {
      while (run_warp(warp)) {
      }
    }
    bool finished = true;
    for (const Thread* thread : threads_) finished = finished && thread->done;
    if (finished) {
      check_shared();
      return;
    }
    check_block_barrier();
    for (Thread* thread : threads_) thread->waiting = Waiting::kNothing;
  }
}

bool Launch::run_warp(std::size_t warp) {
  const std::size_t first = warp * kWarp;
  for (const unsigned lane : lane_order_) {
    if (first + lane >= threads_.size()) continue;
    Thread& thread = *threads_[first + lane];
    if (thread.done || thread.waiting != Waiting::kNothing) continue;
    running_ = &thread;
    thread.fibre.resume();
    if (!failure_.empty()) throw DeviceFault{failure_};
  }
  return release_lanes(warp);
}

// Called when every lane of the warp waits or is done: whoever was released before has read what it
// was handed, so snapshots may be written again.
bool Launch::release_lanes(std::size_t warp) {
  const std::size_t first = warp * kWarp;
  const std::size_t lanes = std::min<std::size_t>(kWarp, threads_.size() - first);
  bool released = false;
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    const Thread& leader = *threads_[first + lane];
    if (leader.done || leader.waiting != Waiting::kWarp) continue;
    if ((leader.mask >> lane & 1u) == 0) {
      fault(std::string(leader.operation) + " at " + describe(leader.place) + ": lane " +
            std::to_string(lane) + " is not in its own mask");
    }
    bool complete = true;
    for (std::size_t other = 0; other < kWarp; ++other) {
      if ((leader.mask >> other & 1u) == 0) continue;
      if (other >= lanes) {
        fault(std::string(leader.operation) + " at " + describe(leader.place) +
              ": the mask names lane " + std::to_string(other) + ", which the block does not have");
      }
      const Thread& thread = *threads_[first + other];
      const bool there = !thread.done && thread.waiting == Waiting::kWarp;
      if (!there) {
        complete = false;
        break;
      }
      if (thread.mask != leader.mask || thread.bytes != leader.bytes ||
          (thread.operation != leader.operation &&
           std::strcmp(thread.operation, leader.operation) != 0)) {
        fault(std::string("lanes of a warp wait at different operations: ") + leader.operation +
              " at " + describe(leader.place) + " and " + thread.operation + " at " +
              describe(thread.place));
      }
    }
    if (!complete) continue;
    unsigned char (*snapshot)[kLaneBytes] = snapshots_[warp].get() + lane * kWarp;
    for (std::size_t other = 0; other < lanes; ++other) {
      if ((leader.mask >> other & 1u) == 0) continue;
      Thread& thread = *threads_[first + other];
      std::memcpy(snapshot[other], thread.value, leader.bytes);
      thread.seen = snapshot;
      thread.waiting = Waiting::kNothing;
    }
    if (leader.combine != nullptr) leader.combine(snapshot);
    released = true;
  }
  return released;
}

void Launch::check_block_barrier() {
  const Thread* waiting = nullptr;
  for (const Thread* thread : threads_) {
    if (thread->done) continue;
    if (thread->waiting == Waiting::kWarp) {
      fault(std::string(thread->operation) + " at " + describe(thread->place) +
            " waits for lanes that do not arrive (thread " + std::to_string(thread->linear) + ")");
    }
    waiting = thread;
  }
  for (const Thread* thread : threads_) {
    if (thread->done) {
      fault("divergent barrier: __syncthreads at " + describe(waiting->place) +
            " waits for thread " + std::to_string(thread->linear) + ", which has returned");
    }
    if (thread->place.line() != waiting->place.line() ||
        std::strcmp(thread->place.file_name(), waiting->place.file_name()) != 0) {
      fault("divergent barrier: threads of a block wait at __syncthreads at " +
            describe(waiting->place) + " and at " + describe(thread->place));
    }
  }
}

void Launch::block_barrier(std::source_location place) {
  running_->waiting = Waiting::kBlock;
  running_->place = place;
  running_->operation = "__syncthreads";
  running_->fibre.suspend();
}

unsigned char (*Launch::exchange(const char* operation, unsigned mask, const void* value,
                                 std::size_t bytes, std::source_location place,
                                 void (*combine)(unsigned char (*)[kLaneBytes]))) [kLaneBytes] {
  Thread& thread = *running_;
  if (bytes > 0) std::memcpy(thread.value, value, bytes);
  thread.bytes = bytes;
  thread.waiting = Waiting::kWarp;
  thread.place = place;
  thread.operation = operation;
  thread.mask = mask;
  thread.combine = combine;
  thread.fibre.suspend();
  return thread.seen;
}

void Launch::copy_async(void* target, const void* source, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(target) % bytes != 0 ||
      reinterpret_cast<std::uintptr_t>(source) % bytes != 0) {
    fault("cp.async of " + std::to_string(bytes) + " bytes needs addresses aligned to them");
  }
  running_->copies.push_back({target, source, bytes, running_->copy_group});
}

void Launch::copy_async_wait(unsigned pending) {
  std::erase_if(running_->copies, [&](const PendingCopy& copy) {
    if (copy.group + pending >= running_->copy_group) return false;
    std::memcpy(copy.target, copy.source, copy.bytes);
    return true;
  });
}

void* Launch::shared_array(const void* key, std::size_t bytes, std::size_t alignment) {
  SharedArray& array = shared_[key];
  if (array.memory == nullptr) {
    const std::size_t aligned = std::max<std::size_t>(16, alignment);
    if (posix_memalign(&array.memory, aligned, bytes + kGuardBytes) != 0) throw std::bad_alloc();
    array.bytes = bytes;
    fill_uninitialised(array.memory, bytes, seed_);
    set_guard(static_cast<char*>(array.memory) + bytes);
  }
  return array.memory;
}

void Launch::check_shared() const {
  for (const auto& [key, array] : shared_) {
    if (guard_is_intact(static_cast<const char*>(array.memory) + array.bytes)) continue;
    fault("a write beyond the end of a shared array of " + std::to_string(array.bytes) + " bytes");
  }
  if (dynamic_ != nullptr && !guard_is_intact(static_cast<const char*>(dynamic_) + shared_bytes_)) {
    fault("a write beyond the end of " + std::to_string(shared_bytes_) +
          " bytes of dynamic shared memory");
  }
}

void Launch::free_shared() {
  for (const auto& [key, array] : shared_) {
    clear_guard(static_cast<char*>(array.memory) + array.bytes);
    std::free(array.memory);
  }
  shared_.clear();
  if (dynamic_ != nullptr) clear_guard(static_cast<char*>(dynamic_) + shared_bytes_);
  std::free(dynamic_);
  dynamic_ = nullptr;
}

}  // namespace alphamargin::emulated
