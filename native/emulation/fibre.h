#pragma once
// Cooperative threads: one for every CUDA thread of a block. Switching is a dozen instructions on
// x86-64 (swapcontext makes a system call); elsewhere it is swapcontext.

#include <cstddef>
#include <memory>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
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
#if defined(__x86_64__)
  using Place = void*;  // the stack pointer
#else
  using Place = ucontext_t;
#endif
  void start();
  static void trampoline();
  static void continue_at(Place* save, Place* load);

  // Set at every switch, by the one thread that has the device. Not thread_local: in a library that
  // is loaded late each access would be a call.
  static constinit inline Fibre* starting_ = nullptr;

  std::size_t stack_bytes_;
  char* stack_;
  std::size_t unused_bytes_;  // at the top of the stack
  Entry entry_ = nullptr;
  void* argument_ = nullptr;
  Place own_{};
  Place caller_{};
#if defined(__SANITIZE_ADDRESS__)
  // What AddressSanitizer keeps of a stack, and whether all that ran on it has returned.
  void* own_fake_stack_ = nullptr;
  void* caller_fake_stack_ = nullptr;
  const void* caller_bottom_ = nullptr;
  std::size_t caller_size_ = 0;
  bool has_finished_ = false;
#endif
};

// Leaves its own place in *save and goes on where *load was left. In the line of its callers, and
// by jumps: the processor foresees where calls return to, which is wrong at every change of stacks.
inline void Fibre::continue_at(Place* save, Place* load) {
#if defined(__x86_64__)
  void* target = *load;
  // 128 bytes below the stack pointer may be in use. rbp cannot be named as overwritten.
  asm volatile(
      "leaq -128(%%rsp), %%rsp\n\t"
      "pushq %%rbp\n\t"
      "leaq 1f(%%rip), %%rax\n\t"
      "pushq %%rax\n\t"
      "movq %%rsp, (%0)\n\t"
      "movq %1, %%rsp\n\t"
      "popq %%rax\n\t"
      "notrack jmpq *%%rax\n"
      "1:\n\t"
      "popq %%rbp\n\t"
      "leaq 128(%%rsp), %%rsp"
      : "+D"(save), "+S"(target)
      :
      : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0",
        "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
        "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory");
#else
  swapcontext(save, load);
#endif
}

inline void Fibre::resume() {
  starting_ = this;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&caller_fake_stack_, stack_, stack_bytes_);
#endif
  continue_at(&caller_, &own_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(caller_fake_stack_, nullptr, nullptr);
#endif
}

inline void Fibre::suspend() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&own_fake_stack_, caller_bottom_, caller_size_);
#endif
  continue_at(&own_, &caller_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(own_fake_stack_, &caller_bottom_, &caller_size_);
#endif
}

}  // namespace alphamargin::emulated
