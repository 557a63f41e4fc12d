#include "emulation/launch_state.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <span>
#include <utility>

namespace alphamargin::emulated {

constinit Launch* current_launch = nullptr;

namespace {

// Fibres are kept for later launches of this thread: a stack costs more than a kernel.
std::vector<std::unique_ptr<Thread>>& kept_threads() {
  thread_local std::vector<std::unique_ptr<Thread>> threads;
  return threads;
}

constinit std::atomic<std::uint64_t> conflicts{0};

// Mostly the same literal.
bool is_same_text(const char* left, const char* right) {
  return left == right || std::strcmp(left, right) == 0;
}

std::string describe(const std::source_location& place) {
  std::string file = place.file_name();
  const std::size_t slash = file.rfind('/');
  if (slash != std::string::npos) file = file.substr(slash + 1);
  return file + ":" + std::to_string(place.line());
}

}  // namespace

void count_bank_conflict() { conflicts.fetch_add(1, std::memory_order_relaxed); }
std::uint64_t bank_conflicts() { return conflicts.load(std::memory_order_relaxed); }

Launch::Launch(const char* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
               std::uint64_t seed, unsigned cluster)
    : kernel_(kernel),
      grid_(grid),
      block_(block),
      shared_bytes_(shared_bytes),
      seed_(seed),
      cluster_(cluster),
      random_(seed),
      blocks_(cluster) {}

Launch::~Launch() { free_shared(); }

void Launch::missing_lane(const char* operation, unsigned lane, std::source_location place) const {
  fault(std::string(operation) + " at line " + std::to_string(place.line()) + " reads lane " +
        std::to_string(lane) + ", which is not in its mask");
}

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
  if (grid_.x % cluster_ != 0) fault("a grid that is not made of whole clusters");
  Launch* const outer = std::exchange(current_launch, this);
  body_ = &body;
  auto& kept = kept_threads();
  const std::size_t per_block = block_.count();
  // A warp belongs to one block: the last of a block may be partly empty.
  const std::size_t warps_per_block = (per_block + kWarp - 1) / kWarp;
  threads_.assign(cluster_ * warps_per_block * kWarp, nullptr);
  while (kept.size() < cluster_ * per_block) kept.push_back(std::make_unique<Thread>());
  for (unsigned rank = 0; rank < cluster_; ++rank) {
    blocks_[rank].rank = rank;
    for (std::size_t i = 0; i < per_block; ++i) {
      Thread& thread = *kept[rank * per_block + i];
      thread.block = &blocks_[rank];
      thread.linear = static_cast<unsigned>(i);
      thread.index =
          dim3(static_cast<unsigned>(i % block_.x), static_cast<unsigned>(i / block_.x % block_.y),
               static_cast<unsigned>(i / block_.x / block_.y));
      threads_[rank * warps_per_block * kWarp + i] = &thread;
    }
  }
  snapshots_.resize(cluster_ * warps_per_block);
  for (auto& warp : snapshots_) {
    if (!warp) warp.reset(new unsigned char[kWarp * kWarp][kLaneBytes]);
  }
  try {
    const std::size_t clusters = grid_.count() / cluster_;
    // Any order is legal: an affine permutation, since a list of a million blocks is no use.
    std::size_t stride = 1;
    std::size_t offset = 0;
    if (seed_ != 0 && clusters > 1) {
      do {
        stride = static_cast<std::size_t>(next_random() % clusters);
      } while (std::gcd(stride, clusters) != 1);
      offset = static_cast<std::size_t>(next_random() % clusters);
    }
    for (std::size_t i = 0; i < clusters; ++i) {
      const std::size_t first =
          cluster_ * static_cast<std::size_t>(
                         (static_cast<unsigned __int128>(i) * stride + offset) % clusters);
      for (Block& block : blocks_) {
        const std::size_t place = first + block.rank;
        block.index = dim3(static_cast<unsigned>(place % grid_.x),
                           static_cast<unsigned>(place / grid_.x % grid_.y),
                           static_cast<unsigned>(place / grid_.x / grid_.y));
        std::fill_n(block.votes, 3, false);
      }
      run_cluster();
    }
  } catch (...) {
    current_launch = outer;
    throw;
  }
  current_launch = outer;
}

void Launch::run_cluster() {
  free_shared();
  for (Block& block : blocks_) make_shared(block);
  engine_.reset();
  for (Thread* thread : threads_) {
    if (thread == nullptr) continue;
    thread->done = false;
    thread->waiting = Waiting::kNothing;
    thread->instruction = nullptr;
    thread->copies.clear();
    thread->copy_group = 0;
    thread->vote = 0;
    thread->products.clear();
    thread->product_group = 0;
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
    resumed_ = false;
    for (const std::size_t warp : order) {
      while (run_warp(warp)) {
      }
    }
    const bool finished = std::all_of(threads_.begin(), threads_.end(), [](const Thread* thread) {
      return thread == nullptr || thread->done;
    });
    if (finished) {
      engine_.check_finished();
      check_shared();
      return;
    }
    if (release_blocks() || release_cluster()) continue;
    // Only then: what arrives late shows who did not wait.
    if (resumed_ || engine_.deliver_one()) continue;
    report_deadlock();
  }
}

bool Launch::run_warp(std::size_t warp) {
  const std::size_t first = warp * kWarp;
  for (const unsigned lane : lane_order_) {
    if (threads_[first + lane] == nullptr) continue;
    Thread& thread = *threads_[first + lane];
    if (thread.waiting == Waiting::kPhase &&
        phase_is_complete(*thread.phase_barrier, thread.parity)) {
      thread.waiting = Waiting::kNothing;
    }
    if (thread.done || thread.waiting != Waiting::kNothing) continue;
    running_ = &thread;
    resumed_ = true;
    thread.fibre.resume();
    if (!failure_.empty()) throw DeviceFault{failure_};
  }
  return release_lanes(warp);
}

// Called when every lane of the warp waits or is done: whoever was released before has read what it
// was handed, so snapshots may be written again.
bool Launch::release_lanes(std::size_t warp) {
  const std::size_t first = warp * kWarp;
  std::size_t lanes = kWarp;
  while (threads_[first + lanes - 1] == nullptr) --lanes;
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
          thread.instruction != leader.instruction ||
          !is_same_text(thread.operation, leader.operation)) {
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
      thread.instruction = nullptr;
      thread.waiting = Waiting::kNothing;
    }
    if (leader.combine != nullptr) leader.combine(snapshot);
    released = true;
  }
  return released;
}

// Lets the blocks go on whose threads have all arrived at __syncthreads. A block that has returned
// in part, or waits in two places, is at fault.
bool Launch::release_blocks() {
  const std::size_t per_block = threads_.size() / blocks_.size();
  bool released = false;
  for (const Block& block : blocks_) {
    const std::span threads(threads_.data() + block.rank * per_block, block_.count());
    const auto waits = [](const Thread* thread) {
      return !thread->done && thread->waiting == Waiting::kBlock;
    };
    const auto first = std::find_if(threads.begin(), threads.end(), waits);
    if (first == threads.end()) continue;
    const Thread* const waiting = *first;
    bool complete = true;
    for (const Thread* thread : threads) {
      if (thread->done) {
        fault("divergent barrier: __syncthreads at " + describe(waiting->place) +
              " waits for thread " + std::to_string(thread->linear) + ", which has returned");
      }
      if (thread->waiting != Waiting::kBlock) {
        complete = false;
        continue;
      }
      if (thread->place.line() != waiting->place.line() ||
          !is_same_text(thread->place.file_name(), waiting->place.file_name())) {
        fault("divergent barrier: threads of a block wait at __syncthreads at " +
              describe(waiting->place) + " and at " + describe(thread->place));
      }
    }
    if (!complete) continue;
    for (const Thread* thread : threads) {
      const Thread* const leader = threads[thread->linear / kWarp * kWarp];
      if (thread->instruction == leader->instruction) continue;
      fault("lanes of a warp wait at different barriers of the block (thread " +
            std::to_string(thread->linear) + ")");
    }
    for (Thread* thread : threads) {
      thread->waiting = Waiting::kNothing;
      thread->instruction = nullptr;
    }
    released = true;
  }
  return released;
}

bool Launch::release_cluster() {
  for (const Thread* thread : threads_) {
    if (thread == nullptr) continue;
    if (thread->done || thread->waiting != Waiting::kCluster) return false;
  }
  for (Thread* thread : threads_) {
    if (thread != nullptr) thread->waiting = Waiting::kNothing;
  }
  return true;
}

void Launch::report_deadlock() const {
  const Thread* found = nullptr;
  for (const Thread* thread : threads_) {
    if (thread == nullptr || thread->done) continue;
    // A warp operation says most.
    if (found == nullptr || thread->waiting == Waiting::kWarp) found = thread;
    if (thread->waiting == Waiting::kWarp) break;
  }
  fault(std::string(found->operation) + " at " + describe(found->place) + " waits for " +
        (found->waiting == Waiting::kWarp ? "lanes that do not arrive" : "what does not happen") +
        " (thread " + std::to_string(found->linear) + ")");
}

void Launch::suspend(Waiting waiting, const char* operation, std::source_location place) {
  running_->waiting = waiting;
  running_->place = place;
  running_->operation = operation;
  running_->fibre.suspend();
}

void Launch::block_barrier(std::source_location place) {
  suspend(Waiting::kBlock, "__syncthreads", place);
}

bool Launch::block_any(bool predicate, std::source_location place) {
  Thread& thread = *running_;
  bool (&votes)[3] = thread.block->votes;
  const unsigned own = thread.vote;
  thread.vote = (own + 1) % 3;
  votes[own] = votes[own] || predicate;
  block_barrier(place);
  // All have read the one before, and nobody votes in it again before all have been here.
  votes[(own + 2) % 3] = false;
  return votes[own];
}

void Launch::cluster_barrier(std::source_location place) {
  suspend(Waiting::kCluster, "barrier.cluster", place);
}

void Launch::phase_wait(const std::uint64_t* barrier, unsigned parity, std::source_location place) {
  if (phase_is_complete(*barrier, parity)) return;
  running_->phase_barrier = barrier;
  running_->parity = parity;
  suspend(Waiting::kPhase, "mbarrier.try_wait", place);
}

unsigned char (*Launch::exchange(const char* operation, unsigned mask, const void* value,
                                 std::size_t bytes, std::source_location place,
                                 void (*combine)(unsigned char (*)[kLaneBytes]))) [kLaneBytes] {
  Thread& thread = *running_;
  if (bytes > 0) std::memcpy(thread.value, value, bytes);
  thread.bytes = bytes;
  thread.mask = mask;
  thread.combine = combine;
  suspend(Waiting::kWarp, operation, place);
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

bool Launch::has_returned(unsigned rank) const {
  return std::all_of(threads_.begin(), threads_.end(), [&](const Thread* thread) {
    return thread == nullptr || thread->block->rank != rank || thread->done;
  });
}

}  // namespace alphamargin::emulated
