"""What the Python peers share: each is a worker of bench/contest.mjs (see peers/worker.h)."""

import json
import resource
import sys
import time

import numpy


EVICTOR = numpy.zeros(2**27, numpy.uint8)


def evict():
    """Leaves nothing of the arrays in any cache."""
    numpy.add(EVICTOR, 1, out=EVICTOR)


def serve(about, make_inputs, run):
    """Answers every line of standard input with the seconds of one run on fresh inputs."""

    def say(values):
        print(json.dumps(values), flush=True)

    say(about)
    for _ in sys.stdin:
        inputs = make_inputs()
        evict()
        start = time.perf_counter()
        run(*inputs)
        say({"seconds": time.perf_counter() - start})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    say({"peakBytes": peak - EVICTOR.nbytes})
