#include "common/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace alphamargin {
namespace {

// The parts of a step follow each other within microseconds, sooner than a sleeping thread wakes:
// who has nothing to do looks around for so long first. Waking costs up to a quarter of it where
// the processors are virtual.
constexpr std::chrono::microseconds kLookAround{200};

// The processor this thread runs on, or −1.
int current_processor() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// A pause takes from 10 to 150 cycles, so time is what ends it.
template <class Condition>
bool spin_until(const Condition& condition) {
  constexpr int kPausesPerLook = 64;
  const auto end = std::chrono::steady_clock::now() + kLookAround;
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (condition()) return true;
      pause_briefly();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// The lock is only ever held for moments: shorter than it takes to sleep and be woken.
std::unique_lock<std::mutex> locked(std::mutex& mutex) {
  std::unique_lock lock(mutex, std::defer_lock);
  if (!spin_until([&] { return lock.try_lock(); })) lock.lock();
  return lock;
}

}  // namespace

// A thread and where the kernel may run it. Behind the pool's mutex but for `processor`.
struct ThreadPool::Worker {
  std::thread thread;
  std::atomic<int> processor{-1};  // where it ran last
  bool asleep = false;
#if defined(__linux__)
  int avoided = -1;    // the processor that it is kept off
  cpu_set_t home;      // where it may run otherwise
  cpu_set_t narrowed;  // that without the one

  void keep_off(int taken) {
    if (taken == avoided || taken < 0 || taken >= CPU_SETSIZE) return;
    const pthread_t handle = thread.native_handle();
    cpu_set_t now;
    if (pthread_getaffinity_np(handle, sizeof now, &now) != 0) return;
    // Somebody else may have moved it meanwhile.
    if (avoided < 0 || !CPU_EQUAL(&now, &narrowed)) home = now;
    narrowed = home;
    CPU_CLR(static_cast<std::size_t>(taken), &narrowed);
    if (CPU_COUNT(&narrowed) == 0 ||
        pthread_setaffinity_np(handle, sizeof narrowed, &narrowed) != 0) {
      narrowed = now;
      return;
    }
    avoided = taken;
  }
#else
  void keep_off(int) {}
#endif
};

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
  for (std::size_t i = 1; i < size_; ++i) {
    auto worker = std::make_unique<Worker>();
    try {
      worker->thread = std::thread([this, self = worker.get()] { work(*self); });
      workers_.push_back(std::move(worker));
    } catch (const std::system_error&) {
      // The system grants fewer threads: the callers themselves still finish every job.
      size_ = i;
      break;
    }
  }
}

void ThreadPool::stop() {
  std::vector<std::unique_ptr<Worker>> stopped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    stopped.swap(workers_);
  }
  wake_.notify_all();
  for (const std::unique_ptr<Worker>& worker : stopped) worker->thread.join();
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

void ThreadPool::work(Worker& self) {
  for (;;) {
    std::shared_ptr<Job> job;
    spin_until([this] { return queued_.load(std::memory_order_relaxed) > 0; });
    {
      std::unique_lock lock = locked(mutex_);
      if (!stopping_ && jobs_.empty()) {
        self.asleep = true;
        ++asleep_;
        wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        --asleep_;
        self.asleep = false;
      }
      if (stopping_) return;
      job = jobs_.front();
      if (job->next.load(std::memory_order_relaxed) >= job->count) {
        jobs_.pop_front();
        queued_ = jobs_.size();
        continue;
      }
    }
    job->help();
    self.processor.store(current_processor(), std::memory_order_relaxed);
  }
}

// The kernel may wake a worker where its caller runs: because it ran there last, or because woken
// threads are put beside who wakes them. It would wait behind its caller until the kernel notices,
// which takes milliseconds: longer than a short step. So it is kept off that processor, until it is
// called from another: a running thread that changes its own processors can wait for half a
// millisecond, and everybody else for the lock.
void ThreadPool::keep_off(int processor) {
  // Among many processors the kernel finds an idle one by itself.
  constexpr std::size_t kFewWorkers = 7;
  for (const std::unique_ptr<Worker>& worker : workers_) {
    const bool ran_there = worker->processor.load(std::memory_order_relaxed) == processor;
    if (ran_there || (worker->asleep && workers_.size() <= kFewWorkers)) {
      worker->keep_off(processor);
    }
  }
}

void ThreadPool::run_pieces(std::size_t count, const Body& piece) {
  if (count == 0) return;
  std::shared_ptr<Job> job;
  try {
    job = std::make_shared<Job>(count, piece);
    bool must_wake = false;
    if (count > 1) {
      const std::unique_lock lock = locked(mutex_);
      if (!workers_.empty()) {
        keep_off(current_processor());
        jobs_.push_back(job);
        queued_ = jobs_.size();
        must_wake = asleep_ > 0;
      }
    }
    if (must_wake) wake_.notify_all();
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
    const std::unique_lock lock = locked(mutex_);
    const auto place = std::find(jobs_.begin(), jobs_.end(), job);
    if (place != jobs_.end()) jobs_.erase(place);
    queued_ = jobs_.size();
  }
  // Out of the job: a worker that still holds that must not be who frees what the caller looks at.
  if (const std::exception_ptr failure = std::move(job->failure)) std::rethrow_exception(failure);
}

}  // namespace alphamargin
