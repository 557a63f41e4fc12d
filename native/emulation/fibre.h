#pragma once
// Cooperative threads: one for every CUDA thread of a block. Switching is a dozen instructions
// (swapcontext makes a system call).

#include <cstddef>
#include <memory>

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
  using Place = void*;  // the stack pointer
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
  void* target = *load;
#if defined(__x86_64__)
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
#elif defined(__aarch64__)
  // The same: 128 bytes on Apple's systems, and x29 for rbp; nor is x18 ours there. Where branches
  // must arrive at a mark (hint 36), a jump by x16 may also enter a function.
  asm volatile(
      "sub sp, sp, #128\n\t"
      "stp x29, x30, [sp, #-16]!\n\t"
      "adr x16, 1f\n\t"
      "str x16, [sp, #-16]!\n\t"
      "mov x16, sp\n\t"
      "str x16, [%0]\n\t"
      "mov sp, %1\n\t"
      "ldr x16, [sp], #16\n\t"
      "br x16\n\t"
      "1:\n\t"
      "hint #36\n\t"
      "ldp x29, x30, [sp], #16\n\t"
      "add sp, sp, #128"
      : "+&r"(save), "+&r"(target)
      :
      : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
        "x16", "x17",
#if !defined(__APPLE__)
        "x18",
#endif
        "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "v0", "v1",
        "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15",
        "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
        "v29", "v30", "v31", "cc", "memory");
#else
#error "the emulated device knows how to switch stacks on x86-64 and aarch64 only"
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
