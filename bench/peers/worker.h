// What the comparison programs share. Each is a worker of bench/contest.mjs: it prints a line of
// JSON when it is ready, one with the seconds of each sample that standard input asks for, and one
// at the end.
#ifndef ALPHAMARGIN_BENCH_PEERS_WORKER_H_
#define ALPHAMARGIN_BENCH_PEERS_WORKER_H_

#include <cblas.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static inline double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/** Uniform numbers in [-1, 1) from a state that must not be 0 (xorshift). */
static inline void fill(float* values, size_t count, uint64_t* state) {
  for (size_t i = 0; i < count; ++i) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    values[i] = (float)((double)(*state >> 40) / 8388608.0 - 1);
  }
}

static inline void* allocate(size_t bytes) {
  void* memory = malloc(bytes);
  if (memory == NULL) {
    fprintf(stderr, "no memory for %zu bytes\n", bytes);
    exit(1);
  }
  return memory;
}

static inline double difference(double a, double b) { return a > b ? a - b : b - a; }

/** Ends the program unless a logit is x·w up to rounding: a wrong product is no comparison. */
static inline void check_logit(float logit, const float* x, const float* w, size_t dim) {
  double exact = 0;
  double size = 0;
  for (size_t d = 0; d < dim; ++d) {
    const double term = (double)x[d] * w[d];
    exact += term;
    size += term < 0 ? -term : term;
  }
  // The rounding of a float32 sum in any order; written so that NaN fails too.
  if (difference(logit, exact) <= (double)(dim + 2) * 6e-8 * size) return;
  fprintf(stderr, "OpenBLAS (%s) computes a wrong product here: %g instead of %g\n",
          openblas_get_corename(), (double)logit, exact);
  exit(3);
}

/** What bench/contenders.mjs asks to be written between samples, for caches of this machine. */
static inline size_t evictor_bytes(void) {
  const char* bytes = getenv("EVICTOR_BYTES");
  return bytes == NULL ? (size_t)1 << 27 : strtoul(bytes, NULL, 10);
}

/** Leaves nothing of the arrays in any cache. */
static inline void evict(void) {
  static char* memory;
  static int walk;
  if (memory == NULL) memory = (char*)allocate(evictor_bytes());
  memset(memory, ++walk & 0xff, evictor_bytes());
  // The compiler must not see that nobody reads it.
  __asm__ volatile("" : : "r"(memory) : "memory");
}

static inline void say_ready(int threads) {
  printf("{\"version\":\"%s\",\"core\":\"%s\",\"threads\":%d}\n", openblas_get_config(),
         openblas_get_corename(), threads);
  fflush(stdout);
}

/** Waits for the next request; 0 when there is none left. */
static inline int is_asked(void) {
  char line[64];
  return fgets(line, sizeof line, stdin) != NULL;
}

static inline void say_seconds(double seconds) {
  printf("{\"seconds\":%.9f}\n", seconds);
  fflush(stdout);
}

/** The last line: the most memory this process ever held, but for what evicts the caches. */
static inline void say_end(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  printf("{\"peakBytes\":%lld}\n", (long long)usage.ru_maxrss * 1024 - (long long)evictor_bytes());
}

#endif  // ALPHAMARGIN_BENCH_PEERS_WORKER_H_
