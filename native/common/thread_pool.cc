#include "common/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#endif

namespace alphamargin {
namespace {

// The parts of a step follow each other within microseconds, sooner than a sleeping thread wakes:
// who has nothing to do looks around for about this many pauses (tens of microseconds) first.
constexpr int kSpins = 4000;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// The processor this thread runs on, or −1.
int current_processor() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// Moves the calling thread to a processor that is none of `taken`, if it may run on one.
void leave_processors(const std::vector<int>& taken) {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  for (const int processor : taken) {
    if (processor >= 0 && processor < CPU_SETSIZE) {
      CPU_CLR(static_cast<std::size_t>(processor), &others);
    }
  }
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
  sched_setaffinity(0, sizeof allowed, &allowed);
#else
  static_cast<void>(taken);
#endif
}

template <class Condition>
bool spin_until(const Condition& condition) {
  for (int i = 0; i < kSpins; ++i) {
    if (condition()) return true;
    pause_briefly();
  }
  return false;
}

}  // namespace

struct ThreadPool::Job {
  Job(std::size_t pieces, const Body& body) : count(pieces), piece(body) {}

  const std::size_t count;
  const Body piece;  // what it refers to outlives every call: run_pieces waits for `finished`
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::condition_variable done;
  std::atomic<std::size_t> finished{0};
  std::size_t failed_piece = 0;
  std::exception_ptr failure;

  // Takes pieces until none is left. Never throws.
  void help() {
    std::size_t completed = 0;
    for (;;) {
      const std::size_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= count) break;
      try {
        piece(index);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure || index < failed_piece) {
          failure = std::current_exception();
          failed_piece = index;
        }
      }
      ++completed;
    }
    if (completed == 0) return;
    const std::lock_guard lock(mutex);
    if (finished.fetch_add(completed, std::memory_order_release) + completed == count) {
      done.notify_all();
    }
  }
};

ThreadPool::ThreadPool(std::size_t threads) { start(threads); }

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::start(std::size_t threads) {
  size_ = std::max<std::size_t>(1, threads);
  stopping_ = false;
  workers_.reserve(size_);
  processors_ = std::vector<std::atomic<int>>(size_ - 1);
  for (std::atomic<int>& processor : processors_) processor = -1;
  for (std::size_t i = 1; i < size_; ++i) {
    try {
      workers_.emplace_back([this, i] { work(i - 1); });
    } catch (const std::system_error&) {
      // The system grants fewer threads: the callers themselves still finish every job.
      size_ = i;
      break;
    }
  }
}

void ThreadPool::stop() {
  std::vector<std::thread> stopped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    stopped.swap(workers_);
  }
  wake_.notify_all();
  for (std::thread& worker : stopped) worker.join();
}

void ThreadPool::resize(std::size_t threads) {
  // A worker leaves when its job has no pieces left; jobs that still have are completed by their
  // callers, who always help.
  stop();
  const std::lock_guard lock(mutex_);
  start(threads);
}

std::size_t ThreadPool::size() const {
  const std::lock_guard lock(mutex_);
  return size_;
}

void ThreadPool::work(std::size_t index) {
  for (;;) {
    std::shared_ptr<Job> job;
    spin_until([this] { return queued_.load(std::memory_order_relaxed) > 0; });
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      job = jobs_.front();
      if (job->next.load(std::memory_order_relaxed) >= job->count) {
        jobs_.pop_front();
        queued_ = jobs_.size();
        continue;
      }
    }
    job->help();
    processors_[index].store(current_processor(), std::memory_order_relaxed);
  }
}

// A thread is woken where it ran last. When the caller runs there now, as a call that comes from
// the event loop's threads often does, the worker would wait behind it until the kernel notices,
// which takes milliseconds: longer than a short step.
void ThreadPool::make_way() {
  const int here = current_processor();
  if (here < 0) return;
  bool is_taken = false;
  for (const std::atomic<int>& processor : processors_) {
    is_taken = is_taken || processor.load(std::memory_order_relaxed) == here;
  }
  if (!is_taken) return;
  std::vector<int> taken;
  for (const std::atomic<int>& processor : processors_) taken.push_back(processor);
  leave_processors(taken);
}

void ThreadPool::run_pieces(std::size_t count, const Body& piece) {
  if (count == 0) return;
  std::shared_ptr<Job> job;
  try {
    job = std::make_shared<Job>(count, piece);
    const std::lock_guard lock(mutex_);
    if (count > 1 && !workers_.empty()) {
      make_way();
      jobs_.push_back(job);
      queued_ = jobs_.size();
      wake_.notify_all();
    }
  } catch (const std::bad_alloc&) {
    if (!job) {
      Job alone(count, piece);
      alone.help();
      if (alone.failure) std::rethrow_exception(alone.failure);
      return;
    }
  }
  job->help();
  const auto is_done = [&] { return job->finished.load(std::memory_order_acquire) == count; };
  if (!spin_until(is_done)) {
    std::unique_lock lock(job->mutex);
    job->done.wait(lock, is_done);
  }
  {
    const std::lock_guard lock(mutex_);
    const auto place = std::find(jobs_.begin(), jobs_.end(), job);
    if (place != jobs_.end()) jobs_.erase(place);
    queued_ = jobs_.size();
  }
  // Out of the job: a worker that still holds that must not be who frees what the caller looks at.
  if (const std::exception_ptr failure = std::move(job->failure)) std::rethrow_exception(failure);
}

}  // namespace alphamargin
