// Time of the library product that would only make the logits: X [B, D] · Wᵀ [D, C] in float32,
// with OpenBLAS. Usage: sgemm B C D SECONDS SAMPLES THREADS. Prints JSON.
#include <cblas.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void fill(float* values, size_t count, uint64_t* state) {
  for (size_t i = 0; i < count; ++i) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    values[i] = (float)((double)(*state >> 40) / 0x1p23 - 1);
  }
}

int main(int argc, char** argv) {
  if (argc != 7) return 2;
  const size_t batch = strtoul(argv[1], NULL, 10);
  const size_t identities = strtoul(argv[2], NULL, 10);
  const size_t dim = strtoul(argv[3], NULL, 10);
  const double seconds = strtod(argv[4], NULL);
  const long smallest_samples = strtol(argv[5], NULL, 10);
  openblas_set_num_threads((int)strtol(argv[6], NULL, 10));

  const size_t evictor_bytes = (size_t)1 << 27;
  float* x = malloc(batch * dim * sizeof(float));
  float* w = malloc(identities * dim * sizeof(float));
  float* logits = malloc(batch * identities * sizeof(float));
  char* evictor = malloc(evictor_bytes);
  if (!x || !w || !logits || !evictor) return 1;
  uint64_t state = 88172645463325252u;
  fill(w, identities * dim, &state);

  printf("{\"config\":\"%s\",\"threads\":%d,\"samples\":[", openblas_get_config(),
         openblas_get_num_threads());
  double total = 0;
  for (long step = -2; step < smallest_samples || (total < seconds && step < 200); ++step) {
    fill(x, batch * dim, &state);
    memset(evictor, (int)(step & 0xff), evictor_bytes);
    const double start = now();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)batch, (int)identities, (int)dim, 1,
                x, (int)dim, w, (int)dim, 0, logits, (int)identities);
    const double elapsed = now() - start;
    if (step < 0) continue;  // warm-up
    total += elapsed;
    printf("%s%.9f", step == 0 ? "" : ",", elapsed);
  }
  printf("],\"checksum\":%g}\n", (double)logits[identities / 2] + evictor[dim]);
  return 0;
}
