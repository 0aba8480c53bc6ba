"""One update: micro-steps, gradients, clipping, the optimizer's step. The order never varies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from seqlab.data.batch import Batch
from seqlab.objectives import StepContext
from seqlab.training.accumulator import Accumulator
from seqlab.training.parallel import whole


class NonFiniteUpdate(ArithmeticError):
    """The loss or the gradient's norm is infinite or not a number; the weights are those from before the step."""


@dataclass(frozen=True)
class Update:
    """What one update did: sums over its units, and the gradient's norm per unit before clipping."""

    total: float
    count: float
    logs: dict[str, float]
    grad_norm: float


def update(
    accumulator: Accumulator,
    optimizer: torch.optim.Optimizer,
    micro_steps: Sequence[Batch],
    context: StepContext,
    lr: float,
    max_grad_norm: float | None,
    max_grad_value: float | None = None,
) -> Update:
    """Do one optimizer step over several micro-steps: backward, normalise, norm, finite check, clip, step, zero.

    Gradients are divided once, by the count of all micro-steps of all ranks, so that how a step is cut into
    micro-steps, dealt to ranks and padded changes nothing; no unit at all counts as one. Raises NonFiniteUpdate, on all
    ranks, before any weight moves, and ValueError for a loss of no unit.
    """
    totals = accumulator.backward(micro_steps, context)
    if totals["count"] == 0 and totals["total"] != 0:
        raise ValueError("The objective gave a loss, but counted no unit of it: `Loss.count` is how many were summed.")
    totals["count"] = max(totals["count"], 1.0)
    parameters = accumulator.parameters
    gradients = [p.grad for p in parameters if p.grad is not None]
    torch._foreach_div_(gradients, totals["count"] / accumulator.world_size)  # they are means over the ranks
    norm = whole(nn.utils.get_total_norm(gradients))
    grad_norm = float(norm)
    if not (torch.isfinite(norm) and math.isfinite(totals["total"])):
        optimizer.zero_grad()
        raise NonFiniteUpdate(f"gradient norm {grad_norm}, loss {totals['total']} over {totals['count']:.0f} units")
    if max_grad_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, max_grad_norm, norm)
    if max_grad_value is not None:
        nn.utils.clip_grad_value_(parameters, max_grad_value)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    # Kept, not freed: the next backward pass adds into the same memory.
    optimizer.zero_grad(set_to_none=False)
    return Update(totals.pop("total"), totals.pop("count"), totals, grad_norm)
