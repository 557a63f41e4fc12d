// Time of the library product that would only make the logits: X [B, D] · Wᵀ [D, C] in float32,
// with OpenBLAS. Usage: sgemm B C D THREADS; see worker.h.
#include "worker.h"

/** The product, as all of this program makes it. */
static void multiply(const float* x, const float* w, float* logits, const size_t sizes[3]) {
  const int batch = (int)sizes[0];
  const int identities = (int)sizes[1];
  const int dim = (int)sizes[2];
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, batch, identities, dim, 1, x, dim, w, dim, 0,
              logits, identities);
}

/** Checks a product: all of a small one, some of a large one. */
static void check(const float* x, const float* w, const float* logits, const size_t sizes[3]) {
  const size_t count = sizes[0] * sizes[1];
  const size_t stride = count / 4099 + 1;
  for (size_t i = 0; i < count; i += stride) {
    const size_t row = i / sizes[1];
    const size_t identity = i % sizes[1];
    check_logit(logits[i], x + row * sizes[2], w + identity * sizes[2], sizes[2]);
  }
}

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const size_t sizes[3] = {strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10),
                           strtoul(argv[3], NULL, 10)};
  openblas_set_num_threads((int)strtol(argv[4], NULL, 10));

  float* x = (float*)allocate(sizes[0] * sizes[2] * sizeof(float));
  float* w = (float*)allocate(sizes[1] * sizes[2] * sizeof(float));
  float* logits = (float*)allocate(sizes[0] * sizes[1] * sizeof(float));
  uint64_t state = 88172645463325252u;
  fill(x, sizes[0] * sizes[2], &state);
  fill(w, sizes[1] * sizes[2], &state);
  multiply(x, w, logits, sizes);
  check(x, w, logits, sizes);
  say_ready(openblas_get_num_threads());

  while (is_asked()) {
    fill(x, sizes[0] * sizes[2], &state);
    evict();
    const double start = now();
    multiply(x, w, logits, sizes);
    say_seconds(now() - start);
  }
  check(x, w, logits, sizes);
  say_end();
  return 0;
}
