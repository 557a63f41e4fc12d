#include "common/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <system_error>
#include <utility>

namespace alphamargin {

struct ThreadPool::Job {
  Job(std::size_t pieces, const std::function<void(std::size_t)>& body)
      : count(pieces), piece(body) {}

  const std::size_t count;
  const std::function<void(std::size_t)>& piece;  // outlives every call: run() waits for `finished`
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::condition_variable done;
  std::size_t finished = 0;
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
    finished += completed;
    if (finished == count) done.notify_all();
  }
};

ThreadPool::ThreadPool(std::size_t threads) { start(threads); }

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::start(std::size_t threads) {
  size_ = std::max<std::size_t>(1, threads);
  stopping_ = false;
  workers_.reserve(size_);
  for (std::size_t i = 1; i < size_; ++i) {
    try {
      workers_.emplace_back([this] { work(); });
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

void ThreadPool::work() {
  for (;;) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      job = jobs_.front();
      if (job->next.load(std::memory_order_relaxed) >= job->count) {
        jobs_.pop_front();
        continue;
      }
    }
    job->help();
  }
}

void ThreadPool::run(std::size_t count, const std::function<void(std::size_t)>& piece) {
  if (count == 0) return;
  auto job = std::make_shared<Job>(count, piece);
  if (count > 1) {
    const std::lock_guard lock(mutex_);
    if (!workers_.empty()) {
      jobs_.push_back(job);
      wake_.notify_all();
    }
  }
  job->help();
  {
    std::unique_lock lock(job->mutex);
    job->done.wait(lock, [&] { return job->finished == count; });
  }
  {
    const std::lock_guard lock(mutex_);
    const auto place = std::find(jobs_.begin(), jobs_.end(), job);
    if (place != jobs_.end()) jobs_.erase(place);
  }
  // Out of the job: a worker that still holds that must not be who frees what the caller looks at.
  if (const std::exception_ptr failure = std::move(job->failure)) std::rethrow_exception(failure);
}

}  // namespace alphamargin
