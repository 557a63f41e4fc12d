"""Dense and sampled training steps in PyTorch, and the product of the logits alone, on a GPU or on
the CPU. Argument: { setting, form, device, threads } as JSON; a worker of bench/contest.mjs.

form:
  gemm      float16 logits X [B, D] . W^T [D, C], accumulated in float32 (cuBLAS on a GPU); in
            pieces of C where [B, C] would not fit. The unit of the others.
  eager     normalise, logits of all identities, CosFace, cross-entropy, backward, SGD with momentum,
            under float16 autocast on a GPU, as people write it
  compiled  the same through torch.compile
  sampled   the same on the classes of the batch and random others, a tenth of all (the idea of
            Partial FC), with momentum of the sampled rows; not exact

Every sample has fresh inputs and caches that hold nothing of the arrays. Times are CUDA events on a
GPU, the clock elsewhere. What does not fit in memory says so and is no failure.
"""

import json
import sys
import time
from contextlib import nullcontext

import torch
from torch.nn import functional
from worker import evict, memory_peak, serve

SAMPLED_SHARE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
LEARNING_RATE = 0.1
# Elements of the logits that the product alone keeps at a time.
MOST_LOGITS = 1 << 29
EVICTOR_BYTES = 1 << 28


class Clock:
    """Seconds of a call, from cold caches."""

    def __init__(self, device):
        self.on_gpu = device.type == "cuda"
        if self.on_gpu:
            self.evictor = torch.empty(EVICTOR_BYTES, dtype=torch.uint8, device=device)

    def seconds(self, run, inputs):
        if not self.on_gpu:
            evict()
            start = time.perf_counter()
            run(*inputs)
            return time.perf_counter() - start
        self.evictor.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run(*inputs)
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3


def logits_alone(batch, identities, dim, device):
    """The product, one piece of the classes after another."""
    kind = torch.float16 if device.type == "cuda" else torch.float32
    prototypes = torch.empty(identities, dim, dtype=kind, device=device).uniform_(-1, 1)
    piece = min(identities, max(1, MOST_LOGITS // batch))
    out = torch.empty(batch, piece, dtype=kind, device=device)

    def run(embeddings):
        for first in range(0, identities, piece):
            part = prototypes[first : first + piece]
            torch.mm(embeddings, part.T, out=out[:, : len(part)] if len(part) == piece else None)

    def make_inputs():
        return (torch.empty(batch, dim, dtype=kind, device=device).uniform_(-1, 1),)

    return make_inputs, run


def half_precision(device):
    """float16 products on a GPU; the CPU of old PyTorch versions has none."""
    return torch.autocast("cuda", torch.float16) if device.type == "cuda" else nullcontext()


def cosface(embeddings, prototypes, labels, scale, margin):
    """Mean loss; `labels` are places among the given prototypes."""
    cosines = functional.normalize(embeddings) @ functional.normalize(prototypes).T
    logits = scale * (cosines - margin * functional.one_hot(labels, len(prototypes)))
    return functional.cross_entropy(logits, labels)


def cosface_by_index(embeddings, prototypes, labels, scale, margin):
    """The same without an array of zeros and ones, which costs more than the loss."""
    cosines = functional.normalize(embeddings) @ functional.normalize(prototypes).T
    shift = torch.full_like(labels, -scale * margin, dtype=cosines.dtype)
    logits = (scale * cosines).scatter_add(1, labels[:, None], shift[:, None])
    return functional.cross_entropy(logits, labels)


def dense_step(setting, device, compiled):
    """The step on all classes."""
    batch, identities, dim = (setting[name] for name in ("batch", "identities", "dim"))
    prototypes = torch.nn.Parameter(
        functional.normalize(torch.randn(identities, dim, device=device))
    )
    optimizer = torch.optim.SGD(
        [prototypes], lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )

    def loss_of(embeddings, labels):
        with half_precision(device):
            return cosface_by_index(
                embeddings, prototypes, labels, setting["scale"], setting["margin"]
            )

    if compiled:
        if not hasattr(torch, "compile"):
            raise SystemExit(f"does not fit: PyTorch {torch.__version__} has no torch.compile")
        loss_of = torch.compile(loss_of)

    def run(embeddings, labels):
        optimizer.zero_grad(set_to_none=True)
        loss_of(embeddings, labels).backward()
        optimizer.step()

    return random_batches(batch, identities, dim, device), run


def sampled_step(setting, device):
    """The step on a sample of the classes; only their rows are touched."""
    batch, identities, dim = (setting[name] for name in ("batch", "identities", "dim"))
    prototypes = functional.normalize(torch.randn(identities, dim, device=device))
    momentum = torch.zeros_like(prototypes)
    count = max(1, round(SAMPLED_SHARE * identities))

    def run(embeddings, labels):
        positives = torch.unique(labels)
        chances = torch.rand(identities, device=device)
        chances[positives] = 2
        classes = torch.topk(chances, max(count, len(positives))).indices.sort().values
        rows = prototypes[classes].requires_grad_()
        places = torch.searchsorted(classes, labels)
        with half_precision(device):
            loss = cosface_by_index(
                embeddings, rows, places, setting["scale"], setting["margin"]
            )
        loss.backward()
        with torch.no_grad():
            velocity = MOMENTUM * momentum[classes] + rows.grad + WEIGHT_DECAY * rows
            momentum[classes] = velocity
            prototypes[classes] = rows - LEARNING_RATE * velocity

    return random_batches(batch, identities, dim, device), run


def random_batches(batch, identities, dim, device):
    """Makes embeddings and labels."""

    def make_inputs():
        embeddings = torch.randn(batch, dim, device=device, requires_grad=True)
        return embeddings, torch.randint(identities, (batch,), device=device)

    return make_inputs


def check():
    """The two ways to write the loss agree, and a sample of everything is everything."""
    embeddings, prototypes = torch.randn(5, 7), torch.randn(11, 7)
    labels = torch.randint(11, (5,))
    by_array = cosface(embeddings, prototypes, labels, 16, 0.3)
    by_index = cosface_by_index(embeddings, prototypes, labels, 16, 0.3)
    torch.testing.assert_close(by_array, by_index)


def main():
    argument = json.loads(sys.argv[1])
    setting, form = argument["setting"], argument["form"]
    device = torch.device(argument["device"])
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no GPU")
    torch.set_num_threads(argument["threads"])
    torch.manual_seed(1)
    check()
    sizes = (setting["batch"], setting["identities"], setting["dim"])
    try:
        if form == "gemm":
            make_inputs, run = logits_alone(*sizes, device)
        elif form == "sampled":
            make_inputs, run = sampled_step(setting, device)
        else:
            make_inputs, run = dense_step(setting, device, form == "compiled")
        clock = Clock(device)
        about = {"version": f"PyTorch {torch.__version__}", "threads": torch.get_num_threads()}
        serve(about, make_inputs, run, clock.seconds, lambda: peak(device))
    except RuntimeError as error:
        if "out of memory" in str(error):
            raise SystemExit("does not fit: out of memory") from error
        raise


def peak(device):
    """Most bytes held: of the device, or of the process."""
    if device.type != "cuda":
        return memory_peak()
    return torch.cuda.max_memory_allocated(device)


main()
