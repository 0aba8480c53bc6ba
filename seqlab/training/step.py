"""One update: micro-steps, gradients, clipping, the optimizer's step. The order never varies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqlab.data.batch import Batch
from seqlab.objectives import StepContext
from seqlab.optim import TwoPasses
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


class StartedUpdate:
    """An update that a device may still be computing. On a GPU, `finish` waits for this update alone."""

    def __init__(self, sums: dict[str, Tensor], norm: Tensor) -> None:
        """`sums`: total, count and logs of all ranks; `norm`: of the gradient. One number each."""
        self._names = list(sums)
        values = torch.stack([*(value.double() for value in sums.values()), norm.double()])
        self._values = values.to("cpu", non_blocking=True)
        self._copied = torch.cuda.Event() if values.is_cuda else None
        if self._copied is not None:
            self._copied.record()

    def finish(self) -> Update:
        """Read the figures. Raises NonFiniteUpdate, and ValueError for a loss of no unit."""
        if self._copied is not None:
            self._copied.synchronize()
        *values, norm = self._values.tolist()
        logs = dict(zip(self._names, values, strict=True))
        total, count = logs.pop("total"), logs.pop("count")
        if count == 0 and total != 0:
            raise ValueError(
                "The objective gave a loss, but counted no unit of it: `Loss.count` is how many were summed."
            )
        count = max(count, 1.0)
        if not (math.isfinite(norm) and math.isfinite(total)):
            raise NonFiniteUpdate(f"gradient norm {norm}, loss {total} over {count:.0f} units")
        return Update(total, count, logs, norm)


def can_skip_updates(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer leaves weights and state as they are where a tensor on its device says so."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def start_update(
    accumulator: Accumulator,
    optimizer: torch.optim.Optimizer,
    micro_steps: Sequence[Batch],
    context: StepContext,
    lr: float,
    max_grad_norm: float | None,
    max_grad_value: float | None = None,
    has_failed: Tensor | None = None,
    l1_penalty: float = 0.0,
) -> StartedUpdate:
    """Do one optimizer step over several micro-steps: backward, normalise, norm, finite check, clip, step, zero.

    Gradients are divided once, by the count of all micro-steps of all ranks, so that how a step is cut into
    micro-steps, dealt to ranks and padded changes nothing; no unit at all counts as one.

    Without `has_failed` it raises as `StartedUpdate.finish` does, on all ranks, before any weight moves. With it, ()
    in fp32 on the device, nothing is waited for: the tensor becomes 1 where a figure is not finite, and from then on
    no update moves a weight (see `can_skip_updates`).
    """
    parameters, carried = accumulator.parameters, accumulator.carry
    sums, norm = _gradient(accumulator, micro_steps, context, l1_penalty)
    if isinstance(optimizer, TwoPasses):
        optimizer.ascend(norm)
        optimizer.zero_grad(set_to_none=False)
        accumulator.carry = carried
        _, norm = _gradient(accumulator, micro_steps, context, l1_penalty)  # by the same seeds, so with the same masks
        optimizer.descend()
    started = StartedUpdate(sums, norm)
    if has_failed is None:
        try:
            started.finish()
        except ArithmeticError:
            optimizer.zero_grad()
            raise
    else:
        is_finite = torch.isfinite(norm) & torch.isfinite(sums["total"])
        torch.maximum(has_failed, (~is_finite).float(), out=has_failed)
        optimizer.found_inf = has_failed  # type: ignore[attr-defined]
    if max_grad_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, max_grad_norm, norm)
    if max_grad_value is not None:
        nn.utils.clip_grad_value_(parameters, max_grad_value)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    # Kept, not freed: the next backward pass adds into the same memory.
    optimizer.zero_grad(set_to_none=False)
    return started


def _gradient(
    accumulator: Accumulator, micro_steps: Sequence[Batch], context: StepContext, l1_penalty: float
) -> tuple[dict[str, Tensor], Tensor]:
    """Take the gradient of the loss per unit; return the sums of `Accumulator.backward`, and the gradient's norm."""
    sums = accumulator.backward(micro_steps, context)
    gradients = [p.grad for p in accumulator.parameters if p.grad is not None]
    divisor = sums["count"].clamp_min(1.0) / accumulator.world_size  # gradients are means over the ranks
    torch._foreach_div_(gradients, divisor.float())  # of another dtype it takes a launch for each parameter
    if l1_penalty:
        for p in accumulator.parameters:
            if p.dim() > 1 and p.grad is not None:
                p.grad.add_(p.detach().sign(), alpha=l1_penalty)
    return sums, whole(nn.utils.get_total_norm(gradients))


def update(
    accumulator: Accumulator,
    optimizer: torch.optim.Optimizer,
    micro_steps: Sequence[Batch],
    context: StepContext,
    lr: float,
    max_grad_norm: float | None,
    max_grad_value: float | None = None,
) -> Update:
    """Do one optimizer step and wait for it: see `start_update`."""
    return start_update(accumulator, optimizer, micro_steps, context, lr, max_grad_norm, max_grad_value).finish()
