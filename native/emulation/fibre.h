#pragma once
// Cooperative threads: one for every CUDA thread of a block. Switching is a dozen instructions on
// x86-64 (swapcontext makes a system call); elsewhere it is swapcontext.

#include <cstddef>
#include <memory>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace alphamargin::emulated {

class Fibre {
 public:
  using Entry = void (*)(void* argument);

  Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;
  ~Fibre();

  // The next resume() begins entry(argument), which must end by calling finish().
  void prepare(Entry entry, void* argument);
  // Runs the fibre until it suspends or finishes; called by the scheduler's thread.
  void resume();
  // Back to resume(); called on the fibre.
  void suspend();
  [[noreturn]] void finish();

 private:
  void start();
  static void trampoline();

  std::size_t stack_bytes_;
  char* stack_;
  Entry entry_ = nullptr;
  void* argument_ = nullptr;
#if defined(__x86_64__)
  void* own_stack_pointer_ = nullptr;
  void* caller_stack_pointer_ = nullptr;
#else
  ucontext_t own_;
  ucontext_t caller_;
#endif
  // What AddressSanitizer and ThreadSanitizer keep of a stack.
  void* own_fake_stack_ = nullptr;
  void* caller_fake_stack_ = nullptr;
  const void* caller_bottom_ = nullptr;
  std::size_t caller_size_ = 0;
};

}  // namespace alphamargin::emulated
