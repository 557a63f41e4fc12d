// Loaded before the C library (LD_PRELOAD): lets chosen allocations of the addon fail. The addon itself
// has no hook; what it asks malloc, calloc, realloc, aligned_alloc or posix_memalign for, operator new
// included, is known by the address it returns to. Allocations of Node are never touched.
//
// Control is a file that both sides map (ALPHAMARGIN_FAULTS): four 64-bit numbers.
//   [0] 0: off; n: the n-th allocation of the addon from now on fails; -n: it and all later ones
//   [1] allocations of the addon since [0] was set (the test zeroes it)
//   [2] allocations that were made to fail
//   [3] not 0: aligned allocations only, which are buffers of the kernels and device memory. The emulated
//       device is in the addon, too, but plays the part of hardware, which has no operator new.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern void* __libc_malloc(size_t bytes);
extern void* __libc_calloc(size_t count, size_t bytes);
extern void* __libc_realloc(void* memory, size_t bytes);
extern void* __libc_memalign(size_t alignment, size_t bytes);

static volatile int64_t* control = NULL;
static uintptr_t addon_begin = 0;
static uintptr_t addon_end = 0;

static int find_addon(struct dl_phdr_info* info, size_t size, void* unused) {
  (void)size;
  (void)unused;
  if (strstr(info->dlpi_name, "alphamargin") == NULL) return 0;
  if (strstr(info->dlpi_name, ".node") == NULL) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
    const uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    const uintptr_t end = begin + info->dlpi_phdr[i].p_memsz;
    if (addon_begin == 0 || begin < addon_begin) addon_begin = begin;
    if (end > addon_end) addon_end = end;
  }
  return 1;
}

__attribute__((constructor)) static void map_control(void) {
  const char* path = getenv("ALPHAMARGIN_FAULTS");
  if (path == NULL) return;
  const int file = open(path, O_RDWR);
  if (file < 0) return;
  void* mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (mapped != MAP_FAILED) control = mapped;
}

static int must_fail(const void* caller, int is_aligned) {
  if (control == NULL) return 0;
  const int64_t wanted = control[0];
  if (wanted == 0 || (control[3] != 0 && !is_aligned)) return 0;
  if (addon_end == 0) {
    dl_iterate_phdr(find_addon, NULL);
    if (addon_end == 0) return 0;
  }
  const uintptr_t address = (uintptr_t)caller;
  if (address < addon_begin || address >= addon_end) return 0;
  const int64_t count = __atomic_add_fetch(&control[1], 1, __ATOMIC_SEQ_CST);
  const int fails = wanted > 0 ? count == wanted : count >= -wanted;
  if (fails) {
    __atomic_add_fetch(&control[2], 1, __ATOMIC_SEQ_CST);
    errno = ENOMEM;
  }
  return fails;
}

void* malloc(size_t bytes) {
  if (must_fail(__builtin_return_address(0), 0)) return NULL;
  return __libc_malloc(bytes);
}

void* calloc(size_t count, size_t bytes) {
  if (must_fail(__builtin_return_address(0), 0)) return NULL;
  return __libc_calloc(count, bytes);
}

void* realloc(void* memory, size_t bytes) {
  if (must_fail(__builtin_return_address(0), 0)) return NULL;
  return __libc_realloc(memory, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) {
  if (must_fail(__builtin_return_address(0), 1)) return NULL;
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void** place, size_t alignment, size_t bytes) {
  // Less aligned than device memory: shared memory of the emulated kernels.
  if (must_fail(__builtin_return_address(0), alignment >= 256)) return ENOMEM;
  void* memory = __libc_memalign(alignment, bytes);
  if (memory == NULL) return ENOMEM;
  *place = memory;
  return 0;
}
