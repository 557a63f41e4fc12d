"""The dense training step that PyTorch users write: normalise, logits of all identities, margin,
loss, backward, SGD with momentum. Argument: the setting with `threads`, as JSON; see worker.py.

The loss is softmax cross-entropy (alpha 1: CosFace) or Q-Margin by bisection on the whole [B, C]
array, as the entmax package does it: 50 halvings, and the gradient p - e_y in closed form.
"""

import json
import sys

import torch
from torch.nn import functional
from worker import serve

HALVINGS = 50


def positive_power(values, exponent):
    """values ** exponent in place; without `pow` where multiplications do, which is faster."""
    if exponent == 2:
        return values.square_()
    if exponent == 4:
        return values.square_().square_()
    return values.pow_(exponent)


class QMarginByBisection(torch.autograd.Function):
    """Mean Q-Margin loss of logits [B, C]; formulas in docs/losses.md."""

    @staticmethod
    def forward(context, logits, labels, alpha, scale, margin):
        exponent = 1 / (alpha - 1)
        reference = torch.exp(torch.tensor(-scale * margin))
        z = logits * (alpha - 1)
        buffer = torch.empty_like(z)
        target = labels[:, None]

        def masses(threshold):
            torch.sub(z, threshold, out=buffer)
            positive_power(buffer.clamp_(min=0), exponent)
            buffer.scatter_(1, target, buffer.gather(1, target) * reference)
            return buffer.sum(1, keepdim=True)

        # One class alone would need this much: p_y = 1 at z_y - q_y^(1 - alpha).
        low = torch.maximum(
            z.amax(1, keepdim=True) - 1, z.gather(1, target) - reference ** (1 - alpha)
        )
        high = z.amax(1, keepdim=True)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            too_low = masses(middle) >= 1
            low = torch.where(too_low, middle, low)
            high = torch.where(too_low, high, middle)
        posterior = buffer.div_(masses(low))

        p_target = posterior.gather(1, target)
        linear = (posterior * logits).sum(1, keepdim=True) - logits.gather(1, target)
        powers = posterior.pow(alpha)
        powers.scatter_(1, target, 0)
        of_target = reference ** (1 - alpha) * (1 - p_target**alpha)
        entropy = of_target - powers.sum(1, keepdim=True)
        context.save_for_backward(posterior, labels)
        return (linear + entropy / (alpha * (alpha - 1))).mean()

    @staticmethod
    def backward(context, grad):
        posterior, labels = context.saved_tensors
        share = grad / len(labels)
        rows = torch.arange(len(labels))
        posterior[rows, labels] -= 1
        return posterior.mul_(share), None, None, None, None


def main():
    setting = json.loads(sys.argv[1])
    batch, identities, dim = (setting[name] for name in ("batch", "identities", "dim"))
    alpha, scale, margin = (setting[name] for name in ("alpha", "scale", "margin"))
    torch.set_num_threads(setting["threads"])
    torch.manual_seed(1)
    prototypes = torch.nn.Parameter(functional.normalize(torch.randn(identities, dim)))
    optimizer = torch.optim.SGD([prototypes], lr=0.1, momentum=0.9, weight_decay=5e-4)
    rows = torch.arange(batch)

    def make_inputs():
        embeddings = torch.randn(batch, dim, requires_grad=True)
        return embeddings, torch.randint(identities, (batch,))

    def loss_of(cosines, labels):
        if alpha == 1:
            logits = cosines * scale
            logits[rows, labels] -= scale * margin
            return functional.cross_entropy(logits, labels)
        return QMarginByBisection.apply(cosines * scale, labels, alpha, scale, margin)

    def run(embeddings, labels):
        optimizer.zero_grad(set_to_none=True)
        cosines = functional.normalize(embeddings) @ functional.normalize(prototypes).T
        loss_of(cosines, labels).backward()
        optimizer.step()

    about = {"version": f"PyTorch {torch.__version__}", "threads": torch.get_num_threads()}
    serve(about, make_inputs, run)


main()
