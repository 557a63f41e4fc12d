#include "emulation/fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Saves the callee-saved registers on the current stack, its pointer in *rdi, and continues on rsi.
extern "C" void alphamargin_switch_stack(void** save, void* load);
asm(R"(
.text
.globl alphamargin_switch_stack
.hidden alphamargin_switch_stack
.type alphamargin_switch_stack,@function
alphamargin_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size alphamargin_switch_stack,.-alphamargin_switch_stack
)");
#endif

namespace alphamargin::emulated {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStackBytes = 256 * 1024;  // instrumented frames are larger
#else
constexpr std::size_t kStackBytes = 64 * 1024;
#endif

// Set at every switch.
constinit thread_local Fibre* starting = nullptr;

}  // namespace

Fibre::Fibre() : stack_bytes_(kStackBytes) {
  // A page that cannot be touched below the stack: an overflow is a fault, not a strange result.
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, stack_bytes_ + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page, PROT_NONE);
  stack_ = static_cast<char*>(memory) + page;
}

Fibre::~Fibre() {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_, stack_bytes_);
#endif
  munmap(stack_ - page, stack_bytes_ + page);
}

void Fibre::prepare(Entry entry, void* argument) {
  entry_ = entry;
  argument_ = argument;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_, stack_bytes_);
  own_fake_stack_ = nullptr;
#endif
#if defined(__x86_64__)
  // As alphamargin_switch_stack leaves a stack: six registers and a return address, which must
  // leave rsp ≡ 8 (mod 16) in the function it enters.
  auto* top = reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(stack_ + stack_bytes_) &
                                       ~std::uintptr_t{15});
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&Fibre::trampoline);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  own_stack_pointer_ = top;
#else
  getcontext(&own_);
  own_.uc_stack.ss_sp = stack_;
  own_.uc_stack.ss_size = stack_bytes_;
  own_.uc_link = nullptr;
  makecontext(&own_, &Fibre::trampoline, 0);
#endif
}

void Fibre::trampoline() { starting->start(); }

void Fibre::start() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &caller_bottom_, &caller_size_);
#endif
  entry_(argument_);
  finish();
}

void Fibre::resume() {
  starting = this;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&caller_fake_stack_, stack_, stack_bytes_);
#endif
#if defined(__x86_64__)
  alphamargin_switch_stack(&caller_stack_pointer_, own_stack_pointer_);
#else
  swapcontext(&caller_, &own_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(caller_fake_stack_, nullptr, nullptr);
#endif
}

void Fibre::suspend() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&own_fake_stack_, caller_bottom_, caller_size_);
#endif
#if defined(__x86_64__)
  alphamargin_switch_stack(&own_stack_pointer_, caller_stack_pointer_);
#else
  swapcontext(&own_, &caller_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(own_fake_stack_, &caller_bottom_, &caller_size_);
#endif
}

void Fibre::finish() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(nullptr, caller_bottom_, caller_size_);
#endif
#if defined(__x86_64__)
  alphamargin_switch_stack(&own_stack_pointer_, caller_stack_pointer_);
#else
  swapcontext(&own_, &caller_);
#endif
  std::abort();  // a finished fibre is not resumed
}

}  // namespace alphamargin::emulated
