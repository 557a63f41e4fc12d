// What the processor could do at most: float32 multiply-adds from registers, and reads from
// memory, with all threads. Built for the very machine it runs on. Usage: machine THREADS.
// Prints JSON.
#include <pthread.h>

#include "worker.h"

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

typedef float Floats __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t Words __attribute__((vector_size(VECTOR_BYTES)));

// Many short trials: the best is one that nothing disturbed. 12 chains hide the latency of the
// multiply-add (4 or 5 cycles, two units) and fit 16 registers.
enum { CHAINS = 12, STREAMS = 4, MOST_THREADS = 1024, TRIALS = 50 };
static const long rounds = 1000000;
static const size_t bytes = (size_t)1 << 28;

/** One thread's part: multiply-adds without memory, reads of it otherwise. */
struct task {
  const char* memory;
  uint64_t result;
};

static void multiply_add(struct task* task) {
  Floats sums[CHAINS];
  const Floats factor = (Floats){0} + 0.5f;
  for (int chain = 0; chain < CHAINS; ++chain) sums[chain] = factor;
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int chain = 0; chain < CHAINS; ++chain) sums[chain] = sums[chain] * factor + factor;
  }
  for (int chain = 0; chain < CHAINS; ++chain) task->result += (uint64_t)sums[chain][0];
}

static void read_all(struct task* task) {
  const Words* words = (const Words*)task->memory;
  Words sums[STREAMS] = {{0}};
  for (size_t i = 0; i < bytes / sizeof(Words); i += STREAMS) {
    for (int stream = 0; stream < STREAMS; ++stream) sums[stream] += words[i + stream];
  }
  for (int stream = 0; stream < STREAMS; ++stream) task->result += sums[stream][0];
}

static void* work(void* argument) {
  struct task* task = (struct task*)argument;
  (task->memory == NULL ? multiply_add : read_all)(task);
  return NULL;
}

/** Seconds of the fastest of some trials with all threads at once. */
static double fastest(struct task* tasks, int threads) {
  double best = 1e9;
  for (int trial = 0; trial < TRIALS; ++trial) {
    pthread_t pool[MOST_THREADS];
    const double start = now();
    for (int t = 0; t < threads; ++t) {
      if (pthread_create(&pool[t], NULL, work, &tasks[t]) != 0) exit(1);
    }
    for (int t = 0; t < threads; ++t) pthread_join(pool[t], NULL);
    const double elapsed = now() - start;
    if (elapsed < best) best = elapsed;
  }
  return best;
}

int main(int argc, char** argv) {
  const int threads = argc == 2 ? (int)strtol(argv[1], NULL, 10) : 0;
  if (threads < 1 || threads > MOST_THREADS) return 2;
  struct task tasks[MOST_THREADS] = {{NULL, 0}};
  const double flops = 2.0 * CHAINS * (VECTOR_BYTES / sizeof(float)) * (double)rounds * threads;
  const double gigaflops = flops / fastest(tasks, threads) / 1e9;

  for (int t = 0; t < threads; ++t) {
    char* memory = (char*)aligned_alloc(VECTOR_BYTES, bytes);
    if (memory == NULL) return 1;
    memset(memory, t + 1, bytes);
    tasks[t].memory = memory;
  }
  const double gigabytes = (double)bytes * threads / fastest(tasks, threads) / 1e9;

  uint64_t checksum = 0;
  for (int t = 0; t < threads; ++t) checksum += tasks[t].result;
  printf("{\"threads\":%d,\"vectorBits\":%d,\"gigaflops\":%.1f,\"readGigabytesPerSecond\":%.2f,"
         "\"checksum\":%llu}\n",
         threads, 8 * VECTOR_BYTES, gigaflops, gigabytes, (unsigned long long)checksum);
  return 0;
}
