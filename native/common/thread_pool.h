#pragma once
// One pool per addon instance. Work is cut into pieces of which no result depends on who runs them,
// or when. How many there are seldom depends on the number of threads, and where it does, what is
// summed in one go does not. That is what makes results the same bits for 1, 2 or 64 threads.

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace alphamargin {

// For who looks again and again at what another thread is about to write.
inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class ThreadPool {
 public:
  explicit ThreadPool(std::size_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Runs piece(0) … piece(count − 1), the caller among the workers, and returns when all are done.
  // If pieces throw, the exception of the lowest piece is rethrown after all have ended. Several
  // callers may run at once; a piece must not call run itself. Running itself never fails: without
  // memory to share the work the caller does it alone.
  template <class Piece>
  void run(std::size_t count, const Piece& piece) {
    run_pieces(count, {[](const void* body, std::size_t index) {
                         (*static_cast<const Piece*>(body))(index);
                       },
                       &piece});
  }

  // Changes the number of threads for later calls.
  void resize(std::size_t threads);
  std::size_t size() const;

 private:
  // A reference to the body of a loop.
  struct Body {
    void (*call)(const void* body, std::size_t index);
    const void* body;
    void operator()(std::size_t index) const { call(body, index); }
  };
  struct Job;
  struct Worker;
  void run_pieces(std::size_t count, const Body& piece);
  void work(Worker& self);
  void keep_off(int processor);
  void start(std::size_t threads);
  void stop();

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> jobs_;
  std::atomic<std::size_t> queued_{0};  // jobs_.size(), for a look without the lock
  std::vector<std::unique_ptr<Worker>> workers_;
  std::size_t asleep_ = 0;
  std::size_t size_ = 1;
  bool stopping_ = false;
};

}  // namespace alphamargin
