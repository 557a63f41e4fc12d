// Exact identification with a library product: the k best of X [B, D] · Wᵀ [D, C] for each query,
// with OpenBLAS and heaps. Usage: top_k B C D K THREADS; see worker.h.
//
// The best form found of "sgemm, then a partial sort": every thread takes a range of the gallery
// and multiplies block by block, so that the logits are still in its cache when they are compared
// with the worst of the k kept so far. (One product over the gallery followed by
// std::partial_sort writes and reads B·C logits and took longer.)
#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "worker.h"

namespace {

using Hit = std::pair<float, int>;

struct Problem {
  size_t batch, identities, dim, k;
  const float* x;
  const float* w;
};

/** Heaps of the k best of each query, the worst in front. */
using Heaps = std::vector<std::vector<Hit>>;

bool is_better(const Hit& a, const Hit& b) { return a.first > b.first; }

void keep(std::vector<Hit>& heap, size_t k, Hit hit) {
  if (heap.size() == k) {
    std::pop_heap(heap.begin(), heap.end(), is_better);
    heap.back() = hit;
  } else {
    heap.push_back(hit);
  }
  std::push_heap(heap.begin(), heap.end(), is_better);
}

void search(const Problem& problem, size_t begin, size_t end, Heaps& heaps) {
  const auto& [batch, identities, dim, k, x, w] = problem;
  // 512 KiB of logits: they stay in the cache that each core has of its own.
  const size_t block = std::max<size_t>(1024, (size_t{1} << 17) / batch);
  std::vector<float> logits(batch * block);
  for (size_t first = begin; first < end; first += block) {
    const size_t count = std::min(block, end - first);
    const float* slice = w + first * dim;
    if (batch == 1) {
      cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)count, (int)dim, 1, slice, (int)dim, x, 1, 0,
                  logits.data(), 1);
    } else {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)batch, (int)count, (int)dim, 1, x,
                  (int)dim, slice, (int)dim, 0, logits.data(), (int)count);
    }
    for (size_t row = 0; row < batch; ++row) {
      auto& heap = heaps[row];
      const float* line = logits.data() + row * count;
      for (size_t i = 0; i < count; ++i) {
        if (heap.size() < k || line[i] > heap.front().first) {
          keep(heap, k, {line[i], (int)(first + i)});
        }
      }
    }
  }
}

/** The k best of each query, best first. */
Heaps nearest(const Problem& problem, size_t threads) {
  std::vector<Heaps> parts(threads, Heaps(problem.batch));
  const size_t share = (problem.identities + threads - 1) / threads;
  std::vector<std::thread> pool;
  for (size_t t = 0; t < threads; ++t) {
    const size_t begin = std::min(t * share, problem.identities);
    const size_t end = std::min(begin + share, problem.identities);
    pool.emplace_back([&problem, &parts, begin, end, t] { search(problem, begin, end, parts[t]); });
  }
  for (auto& thread : pool) thread.join();
  Heaps best(problem.batch);
  for (size_t row = 0; row < problem.batch; ++row) {
    for (auto& part : parts) best[row].insert(best[row].end(), part[row].begin(), part[row].end());
    std::sort(best[row].begin(), best[row].end(), is_better);
    best[row].resize(std::min(problem.k, best[row].size()));
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  Problem problem{};
  problem.batch = strtoul(argv[1], nullptr, 10);
  problem.identities = strtoul(argv[2], nullptr, 10);
  problem.dim = strtoul(argv[3], nullptr, 10);
  problem.k = strtoul(argv[4], nullptr, 10);
  const size_t threads = strtoul(argv[5], nullptr, 10);
  // The threads are this program's own: each calls the library for its part.
  openblas_set_num_threads(1);

  std::vector<float> x(problem.batch * problem.dim);
  std::vector<float> w(problem.identities * problem.dim);
  uint64_t state = 88172645463325252u;
  fill(w.data(), w.size(), &state);
  problem.x = x.data();
  problem.w = w.data();
  say_ready((int)threads);

  while (is_asked()) {
    fill(x.data(), x.size(), &state);
    evict();
    const double start = now();
    const Heaps best = nearest(problem, threads);
    const double elapsed = now() - start;
    for (size_t row = 0; row < problem.batch; ++row) {
      for (const auto& [cosine, identity] : best[row]) {
        check_logit(cosine, &x[row * problem.dim], &w[(size_t)identity * problem.dim],
                    problem.dim);
      }
    }
    say_seconds(elapsed);
  }
  say_end();
}
