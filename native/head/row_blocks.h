#pragma once
// Parallel work on rows in two stages: something that is done for a block of rows at once, then
// something for every row of it. Who is done with its own blocks helps with the rows of others, so
// that a thread the system holds up does not hold up all.

#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "common/thread_pool.h"

namespace alphamargin {

class RowBlocks {
 public:
  explicit RowBlocks(std::size_t count) : blocks_(count) {}

  // prepare(block) for every block, in the order in which threads take them, and returns the rows
  // {first, end} of it; then finish(row) for every row, with the function that make_finish() gives
  // each thread. Of rows that throw, the lowest one's exception is rethrown.
  template <class Prepare, class MakeFinish>
  void run(ThreadPool& pool, const Prepare& prepare, const MakeFinish& make_finish) {
    pool.run(blocks_.size(), [&](std::size_t index) {
      Block& block = blocks_[index];
      block.state.store(State::kRuns, std::memory_order_relaxed);
      try {
        const RowRange rows = prepare(index);
        block.next.store(rows.first, std::memory_order_relaxed);
        block.end = rows.end;
      } catch (...) {
        block.state.store(State::kHasRows, std::memory_order_release);  // none
        throw;
      }
      block.state.store(State::kHasRows, std::memory_order_release);
      auto finish = make_finish();
      for (std::size_t step = 0; step < blocks_.size(); ++step) {
        Block& other = blocks_[(index + step) % blocks_.size()];
        if (!other.wait()) continue;
        for (;;) {
          const std::size_t row = other.next.fetch_add(1, std::memory_order_relaxed);
          if (row >= other.end) break;
          try {
            finish(row);
          } catch (...) {
            remember(row, std::current_exception());
          }
        }
      }
    });
    if (failure_) std::rethrow_exception(failure_);
  }

  struct RowRange {
    std::size_t first;
    std::size_t end;
  };

 private:
  enum class State { kWaiting, kRuns, kHasRows };

  // In cache lines of its own: threads write to it.
  struct alignas(64) Block {
    std::atomic<State> state{State::kWaiting};
    std::atomic<std::size_t> next{0};
    std::size_t end = 0;

    // Until there are rows, if a thread is at it. Nobody waits for a block that no thread has
    // taken: it may be the next of who waits.
    bool wait() const {
      for (std::size_t looks = 0;; ++looks) {
        const State now = state.load(std::memory_order_acquire);
        if (now != State::kRuns) return now == State::kHasRows;
        if (looks < kLooks) {
          pause_briefly();
        } else {
          std::this_thread::yield();
        }
      }
    }
  };
  static constexpr std::size_t kLooks = 4096;

  void remember(std::size_t row, std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    if (failure_ && failed_row_ < row) return;
    failure_ = std::move(failure);
    failed_row_ = row;
  }

  std::vector<Block> blocks_;
  std::mutex mutex_;
  std::exception_ptr failure_;
  std::size_t failed_row_ = 0;
};

}  // namespace alphamargin
