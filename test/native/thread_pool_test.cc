// The thread pool, and heads that share one: what ThreadSanitizer watches. Run by
// scripts/test-sanitize.mjs.
//
//   thread_pool_test --list | NAME
//
// The case named "tsan …" makes a mistake that only ThreadSanitizer sees.

#if defined(__linux__)
#include <sched.h>
#endif

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "cases.h"
#include "common/runtime.h"
#include "head/prototype_head.h"
#include "head/row_blocks.h"

namespace alphamargin {
namespace {

using test::expect;

// Runs body(0) … body(count − 1) on threads of their own; rethrows what the first failed one threw.
void on_threads(std::size_t count, const std::function<void(std::size_t)>& body) {
  std::vector<std::exception_ptr> failures(count);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      try {
        body(i);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

// Jobs of many sizes whose pieces write plain memory that the caller reads when run() returns.
// Returns how many pieces ran on threads of the pool.
std::size_t run_jobs(ThreadPool& pool, std::size_t caller, std::size_t jobs) {
  const std::thread::id own = std::this_thread::get_id();
  std::size_t helped = 0;
  for (std::size_t job = 0; job < jobs; ++job) {
    std::vector<std::size_t> values((caller * 31 + job * 7) % 40);
    std::vector<std::thread::id> threads(values.size());
    pool.run(values.size(), [&](std::size_t i) {
      // Or the caller is done before anybody wakes.
      if (i % 8 == 0) std::this_thread::yield();
      values[i] += i + job + 1;
      threads[i] = std::this_thread::get_id();
    });
    for (std::size_t i = 0; i < values.size(); ++i) {
      expect(values[i] == i + job + 1, "piece " + std::to_string(i) + " did not run once");
      helped += threads[i] != own;
    }
  }
  return helped;
}

void test_callers() {
  ThreadPool pool(3);
  std::vector<std::size_t> helped(4);
  on_threads(4, [&](std::size_t caller) { helped[caller] = run_jobs(pool, caller, 100); });
  expect(std::accumulate(helped.begin(), helped.end(), std::size_t{0}) > 0,
         "the callers did everything alone");
}

void test_pool_of_one() {
  ThreadPool pool(1);
  on_threads(3, [&](std::size_t caller) { run_jobs(pool, caller, 30); });
}

#if defined(__linux__)
cpu_set_t processors_allowed() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return set;
}

// A sleeping worker is kept off the processor of the caller that wakes it, and off no other:
// whatever processors callers come from, it loses no more than that one.
void test_processors() {
  ThreadPool pool(4);
  const cpu_set_t all = processors_allowed();
  std::vector<std::thread::id> threads(64);
  std::vector<cpu_set_t> seen(64);
  // Whether callers from either of two processors have been left alone there. Once is enough: a
  // busy machine may keep a worker from falling asleep.
  bool left_alone[2] = {};
  for (int round = 0; round < 6; ++round) {
    // Every other caller is where the ones between it are not allowed to be.
    std::thread caller([&] {
      cpu_set_t own;
      CPU_ZERO(&own);
      for (int processor = 0, place = 0; processor < CPU_SETSIZE; ++processor) {
        if (CPU_ISSET(processor, &all) && place++ == round % 2) CPU_SET(processor, &own);
      }
      if (CPU_COUNT(&own) > 0) sched_setaffinity(0, sizeof own, &own);
      // Long enough for the workers to fall asleep.
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      pool.run(seen.size(), [&](std::size_t i) {
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        seen[i] = processors_allowed();
        threads[i] = std::this_thread::get_id();
      });
      bool is_alone = true;
      for (std::size_t i = 0; i < seen.size(); ++i) {
        if (threads[i] == std::this_thread::get_id()) continue;
        is_alone = is_alone && !CPU_ISSET(static_cast<std::size_t>(sched_getcpu()), &seen[i]);
        cpu_set_t lost;
        CPU_XOR(&lost, &seen[i], &all);
        expect(CPU_COUNT(&lost) <= 1, "a worker may use " + std::to_string(CPU_COUNT(&seen[i])) +
                                          " of " + std::to_string(CPU_COUNT(&all)) + " processors");
      }
      if (is_alone) left_alone[round % 2] = true;
    });
    caller.join();
  }
  if (CPU_COUNT(&all) < 2) return;
  expect(left_alone[0] && left_alone[1], "workers are where their caller is");
}
#endif

// The exception of the lowest piece arrives, after all pieces have ended, and the pool goes on.
void test_exceptions() {
  ThreadPool pool(4);
  on_threads(3, [&](std::size_t caller) {
    for (std::size_t job = 0; job < 50; ++job) {
      std::vector<char> ended(24, 0);
      const std::size_t lowest = (caller + job) % ended.size();
      std::string message;
      try {
        pool.run(ended.size(), [&](std::size_t i) {
          if (i % 8 == 0) std::this_thread::yield();
          ended[i] = 1;
          if (i >= lowest && (i - lowest) % 3 == 0) throw std::runtime_error(std::to_string(i));
        });
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      expect(message == std::to_string(lowest), "not the exception of the lowest piece");
      expect(std::accumulate(ended.begin(), ended.end(), 0) == 24, "a piece did not run");
      run_jobs(pool, caller, 1);
    }
  });
}

// Every row is finished once, after its block, whatever fails; the lowest row's exception arrives,
// or that of the lowest block without rows.
void test_row_blocks() {
  ThreadPool pool(4);
  constexpr std::size_t kRows = 40;
  on_threads(2, [&](std::size_t caller) {
    for (std::size_t job = 0; job < 200; ++job) {
      const std::size_t count = 1 + (caller + job) % 7;
      const std::size_t bad_row = job % 4 == 1 ? job % kRows : kRows;
      const std::size_t bad_block = job % 4 == 3 ? job % count : count;
      std::vector<std::atomic<int>> prepared(count);
      std::vector<std::atomic<int>> finished(kRows);
      std::atomic<bool> is_early{false};
      const auto block_of = [&](std::size_t row) {
        std::size_t block = 0;
        while (row >= kRows * (block + 1) / count) ++block;
        return block;
      };
      std::string message;
      try {
        RowBlocks(count).run(
            pool,
            [&](std::size_t block) -> RowBlocks::RowRange {
              if (block % 2 == 0) std::this_thread::yield();
              if (block == bad_block) throw std::runtime_error("block");
              ++prepared[block];
              return {kRows * block / count, kRows * (block + 1) / count};
            },
            [&] {
              return [&](std::size_t row) {
                if (prepared[block_of(row)] != 1) is_early = true;
                ++finished[row];
                if (row >= bad_row && (row - bad_row) % 5 == 0) {
                  throw std::runtime_error(std::to_string(row));
                }
              };
            });
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      const std::string expected = bad_row < kRows     ? std::to_string(bad_row)
                                   : bad_block < count ? "block"
                                                       : "";
      expect(message == expected, "got \"" + message + "\" instead of \"" + expected + "\"");
      expect(!is_early, "a row was finished before its block");
      for (std::size_t row = 0; row < kRows; ++row) {
        const int times = block_of(row) == bad_block ? 0 : 1;
        expect(finished[row] == times, "row " + std::to_string(row) + " was finished " +
                                           std::to_string(finished[row]) + " times");
      }
    }
  });
}

// One thread changes the size while others run jobs; every job still completes.
void test_resizing() {
  ThreadPool pool(2);
  std::atomic<bool> done{false};
  std::thread resizer([&] {
    for (std::size_t i = 0; !done.load(); ++i) {
      pool.resize(1 + i % 5);
      expect(pool.size() >= 1, "a pool without threads");
    }
  });
  std::exception_ptr failure;
  try {
    on_threads(3, [&](std::size_t caller) { run_jobs(pool, caller, 100); });
  } catch (...) {
    failure = std::current_exception();
  }
  done = true;
  resizer.join();
  if (failure) std::rethrow_exception(failure);
}

void test_short_lives() {
  for (std::size_t i = 0; i < 50; ++i) {
    ThreadPool pool(1 + i % 4);
    if (i % 2 == 0) run_jobs(pool, i, 1);
  }
}

// A head with a batch, its labels and its results. Rows lie near the prototypes that are theirs.
class Training {
 public:
  static constexpr std::size_t kIdentities = 300, kDim = 19, kRows = 13;

  Training(std::shared_ptr<Runtime> runtime, std::uint64_t seed, const Loss& loss)
      : loss_(loss), head_(runtime, settings(seed)), embeddings_(kRows * kDim) {
    head_.read_rows(StateArray::kPrototypes, 0, kRows, embeddings_.data());
    for (std::size_t row = 0; row < kRows; ++row) {
      labels_.push_back(static_cast<std::int32_t>(row * 5 % kIdentities));
    }
    optimizer_.learning_rate = 0.1;
    optimizer_.momentum = 0.9;
  }

  PrototypeHead& head() { return head_; }

  void step(std::size_t times) {
    for (std::size_t i = 0; i < times; ++i) {
      HeadOutputs outputs{
          losses_.data(), {gradient_.data(), false}, support_.data(), active_.data()};
      head_.step(RealMatrix(embeddings_.data(), kRows, kDim), labels_.data(), loss_, optimizer_,
                 outputs, Cancellation());
      history_.insert(history_.end(), losses_.begin(), losses_.end());
    }
  }

  // Everything the steps made: losses of all of them, the last gradient, all prototypes.
  std::vector<float> results() {
    std::vector<float> all(kIdentities * kDim);
    head_.read_rows(StateArray::kPrototypes, 0, kIdentities, all.data());
    all.insert(all.end(), history_.begin(), history_.end());
    all.insert(all.end(), gradient_.begin(), gradient_.end());
    return all;
  }

 private:
  static HeadSettings settings(std::uint64_t seed) {
    HeadSettings settings;
    settings.identities = kIdentities;
    settings.dim = kDim;
    settings.seed = seed;
    settings.scratch_budget.least = std::size_t{1} << 20;
    return settings;
  }

  Loss loss_;
  PrototypeHead head_;
  std::vector<float> embeddings_;
  std::vector<std::int32_t> labels_;
  Optimizer optimizer_;
  std::vector<float> losses_ = std::vector<float>(kRows);
  std::vector<float> gradient_ = std::vector<float>(kRows * kDim);
  std::vector<std::int32_t> support_ = std::vector<std::int32_t>(kRows);
  std::vector<std::uint8_t> active_ = std::vector<std::uint8_t>(kRows);
  std::vector<float> history_;
};

Loss q_margin(double alpha) {
  Loss loss;
  loss.order = DivergenceOrder::of(alpha);
  loss.scale = 16;
  loss.measure_margin = 0.2;
  return loss;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Heads that step at once on one pool, which changes its size meanwhile, get what each gets alone.
void test_heads() {
  constexpr std::size_t kSteps = 6;
  const std::vector<double> alphas = {1.25, 2, 1};
  std::vector<std::vector<float>> alone;
  for (std::size_t i = 0; i < alphas.size(); ++i) {
    Training training(std::make_shared<Runtime>(1), i, q_margin(alphas[i]));
    training.step(kSteps);
    alone.push_back(training.results());
  }
  auto runtime = std::make_shared<Runtime>(3);
  std::vector<std::unique_ptr<Training>> trainings;
  for (std::size_t i = 0; i < alphas.size(); ++i) {
    trainings.push_back(std::make_unique<Training>(runtime, i, q_margin(alphas[i])));
  }
  on_threads(alphas.size() + 1, [&](std::size_t i) {
    if (i < alphas.size()) return trainings[i]->step(kSteps);
    // What JavaScript's thread does meanwhile.
    for (std::size_t size = 1; size <= 4; ++size) {
      runtime->pool.resize(size);
      expect(runtime->memory.current() > 0, "no memory is counted");
      expect(trainings[0]->head().memory().prototypes > 0, "no prototypes are counted");
    }
  });
  for (std::size_t i = 0; i < alphas.size(); ++i) {
    expect(same_bits(trainings[i]->results(), alone[i]),
           "head " + std::to_string(i) + " computes something else beside others");
  }
}

// Overlapping calls on one head: each either works or is refused as busy, and dispose() waits.
void test_busy() {
  Training training(std::make_shared<Runtime>(2), 1, q_margin(1.5));
  std::atomic<std::size_t> answered{0};
  on_threads(3, [&](std::size_t) {
    std::vector<float> row(Training::kDim);
    for (int i = 0; i < 50; ++i) {
      try {
        training.head().read_rows(StateArray::kPrototypes, 3, 1, row.data());
      } catch (const Failure& failure) {
        expect(failure.code() == FailureCode::kBusy, failure.what());
      }
      ++answered;
    }
  });
  expect(answered == 150, "a call was lost");
  std::vector<float> row(Training::kDim);
  std::thread disposer([&] { training.head().dispose(); });
  FailureCode last;
  try {
    for (;;) training.head().read_rows(StateArray::kPrototypes, 3, 1, row.data());
  } catch (const Failure& failure) {
    last = failure.code();
  }
  disposer.join();
  expect(last == FailureCode::kBusy || last == FailureCode::kDisposed, code_name(last));
}

// Two threads that add to the same plain memory: the mistake that must be reported. Each waits for
// the other to have begun, so that one alone cannot do both pieces; a single pair of writes in the
// very same moment could escape.
void tsan_race() {
  ThreadPool pool(2);
  std::atomic<int> begun{0};
  long total = 0;
  pool.run(2, [&](std::size_t i) {
    begun.fetch_add(1, std::memory_order_relaxed);
    while (begun.load(std::memory_order_relaxed) < 2) std::this_thread::yield();
    for (int times = 0; times < 1000; ++times) {
      total += static_cast<long>(i);
      std::this_thread::yield();
    }
  });
  std::printf("%ld\n", total);
}

const test::Cases kCases = {
    {"several callers on one pool", &test_callers},
    {"a pool of one thread", &test_pool_of_one},
#if defined(__linux__)
    {"workers are kept off one processor", &test_processors},
#endif
    {"exceptions in pieces", &test_exceptions},
    {"rows in blocks", &test_row_blocks},
    {"resizing while jobs run", &test_resizing},
    {"pools that live for one job", &test_short_lives},
    {"heads that step at once on one pool", &test_heads},
    {"overlapping calls on one head", &test_busy},
    {"tsan: a planted race", &tsan_race},
};

}  // namespace
}  // namespace alphamargin

int main(int count, char** arguments) {
  return alphamargin::test::run_cases(alphamargin::kCases, count, arguments);
}
