// Exact identification with a library product: the k best of X [B, D] · Wᵀ [D, C] for each query,
// with OpenBLAS and heaps. Usage: top_k FORM B C D K THREADS; see worker.h. FORM is
//   whole    one product with the library's threads, then a partial sort of each row of logits
//   blocks   each thread takes a part of the gallery, block by block: logits are sorted while they
//            are in its cache, and never written to memory
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

/** Keeps what is among the k best of a row of logits. */
void scan(const float* line, size_t count, size_t first, size_t k, std::vector<Hit>& heap) {
  constexpr size_t kLanes = 32;
  size_t i = 0;
  for (; i < count && heap.size() < k; ++i) keep(heap, k, {line[i], (int)(first + i)});
  const auto offer = [&](size_t end) {
    for (; i < end; ++i) {
      if (line[i] > heap.front().first) keep(heap, k, {line[i], (int)(first + i)});
    }
  };
  while (i + kLanes <= count) {
    // Few are: the compiler makes vectors of this, and most of the row is done here.
    const float worst = heap.front().first;
    int better = 0;
    for (size_t lane = 0; lane < kLanes; ++lane) better |= line[i + lane] > worst;
    if (better != 0) {
      offer(i + kLanes);
    } else {
      i += kLanes;
    }
  }
  offer(count);
}

/** Logits [B, count] of a part of the gallery. */
void multiply(const Problem& problem, size_t first, size_t count, float* logits) {
  const int dim = (int)problem.dim;
  const float* w = problem.w + first * problem.dim;
  if (problem.batch == 1) {
    cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)count, dim, 1, w, dim, problem.x, 1, 0, logits,
                1);
  } else {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)problem.batch, (int)count, dim, 1,
                problem.x, dim, w, dim, 0, logits, (int)count);
  }
}

/** Runs work(thread, begin, end) for even shares of `count`. */
template <typename Work>
void share(size_t count, size_t threads, Work work) {
  const size_t part = (count + threads - 1) / threads;
  std::vector<std::thread> pool;
  for (size_t t = 0; t < threads; ++t) {
    pool.emplace_back(work, t, std::min(t * part, count), std::min((t + 1) * part, count));
  }
  for (auto& thread : pool) thread.join();
}

Heaps nearest_whole(const Problem& problem, size_t threads) {
  static std::vector<float> logits(problem.batch * problem.identities);
  multiply(problem, 0, problem.identities, logits.data());
  Heaps best(problem.batch);
  share(problem.batch, threads, [&](size_t, size_t begin, size_t end) {
    for (size_t row = begin; row < end; ++row) {
      const float* line = logits.data() + row * problem.identities;
      scan(line, problem.identities, 0, problem.k, best[row]);
    }
  });
  return best;
}

Heaps nearest_blocks(const Problem& problem, size_t threads) {
  // 512 KiB of logits: they stay in the cache that each core has of its own.
  const size_t block = std::max<size_t>(1024, (size_t{1} << 17) / problem.batch);
  std::vector<Heaps> parts(threads, Heaps(problem.batch));
  share(problem.identities, threads, [&](size_t thread, size_t begin, size_t end) {
    std::vector<float> logits(problem.batch * block);
    for (size_t first = begin; first < end; first += block) {
      const size_t count = std::min(block, end - first);
      multiply(problem, first, count, logits.data());
      for (size_t row = 0; row < problem.batch; ++row) {
        scan(logits.data() + row * count, count, first, problem.k, parts[thread][row]);
      }
    }
  });
  Heaps best(problem.batch);
  for (size_t row = 0; row < problem.batch; ++row) {
    for (auto& part : parts) best[row].insert(best[row].end(), part[row].begin(), part[row].end());
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) return 2;
  const bool whole = strcmp(argv[1], "whole") == 0;
  Problem problem{};
  problem.batch = strtoul(argv[2], nullptr, 10);
  problem.identities = strtoul(argv[3], nullptr, 10);
  problem.dim = strtoul(argv[4], nullptr, 10);
  problem.k = strtoul(argv[5], nullptr, 10);
  const size_t threads = strtoul(argv[6], nullptr, 10);
  // In blocks the threads are this program's own, and each calls the library for its part.
  openblas_set_num_threads(whole ? (int)threads : 1);

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
    Heaps best = whole ? nearest_whole(problem, threads) : nearest_blocks(problem, threads);
    for (auto& hits : best) {
      std::sort(hits.begin(), hits.end(), is_better);
      hits.resize(std::min(problem.k, hits.size()));
    }
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
