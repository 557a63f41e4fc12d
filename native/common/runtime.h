#pragma once
// What every operation of one addon instance shares. Instance data, not statics: two workers that
// load the addon do not meet.

#include <cstddef>

#include "common/memory_account.h"
#include "common/thread_pool.h"

namespace alphamargin {

struct Runtime {
  explicit Runtime(std::size_t threads) : pool(threads) {}
  MemoryAccount memory;
  ThreadPool pool;
};

}  // namespace alphamargin
