"""What the Python peers share: each is a worker of bench/contest.mjs (see peers/worker.h)."""

import json
import os
import resource
import sys
import time

import numpy


# The size is for caches of this machine, see bench/contenders.mjs.
EVICTOR = numpy.zeros(int(os.environ.get("EVICTOR_BYTES", 2**27)), numpy.uint8)


def evict():
    """Leaves nothing of the arrays in any cache."""
    numpy.add(EVICTOR, 1, out=EVICTOR)


def wall_seconds(run, inputs):
    """Seconds of a run that begins with cold caches."""
    evict()
    start = time.perf_counter()
    run(*inputs)
    return time.perf_counter() - start


def memory_peak():
    """The most bytes this process ever held, but for what evicts the caches."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - EVICTOR.nbytes


def serve(about, make_inputs, run, seconds_of=wall_seconds, peak=memory_peak):
    """Answers every line of standard input with the seconds of one run on fresh inputs."""

    def say(values):
        print(json.dumps(values), flush=True)

    say(about)
    for _ in sys.stdin:
        say({"seconds": seconds_of(run, make_inputs())})
    say({"peakBytes": peak()})
