"""Exact identification with Faiss: IndexFlatIP.search. Argument: { batch, identities, dim, k,
threads } as JSON; see worker.py."""

import json
import sys

import faiss
import numpy
from worker import serve

BLOCK = 1 << 16


def main():
    setting = json.loads(sys.argv[1])
    batch, identities, dim = (setting[name] for name in ("batch", "identities", "dim"))
    faiss.omp_set_num_threads(setting["threads"])
    random = numpy.random.default_rng(1)

    def directions(count):
        vectors = random.standard_normal((count, dim), dtype=numpy.float32)
        faiss.normalize_L2(vectors)
        return vectors

    index = faiss.IndexFlatIP(dim)
    for first in range(0, identities, BLOCK):
        index.add(directions(min(BLOCK, identities - first)))
    about = {"version": f"Faiss {faiss.__version__}", "threads": faiss.omp_get_max_threads()}
    serve(about, lambda: (directions(batch),), lambda x: index.search(x, setting["k"]))


main()
