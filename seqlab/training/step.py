"""One update: micro-steps, gradients, clipping, the optimizer's step. The order never varies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqlab.data.batch import Batch
from seqlab.objectives import StepContext
from seqlab.optim import MultiGradientOptimizer
from seqlab.training.accumulator import Accumulator
from seqlab.training.parallel import whole
from seqlab.training.running_statistics import running_statistics


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
    gradients = _Gradients(
        accumulator, optimizer, micro_steps, context, _Changes(l1_penalty, max_grad_norm, max_grad_value), has_failed
    )
    for group in optimizer.param_groups:
        group["lr"] = lr
    try:
        if isinstance(optimizer, MultiGradientOptimizer):
            optimizer.update(gradients)
        else:
            gradients()
            optimizer.step()
    except ArithmeticError:
        optimizer.zero_grad()
        raise
    # Kept, not freed: the next backward pass adds into the same memory.
    optimizer.zero_grad(set_to_none=False)
    if gradients.started is None:
        raise ValueError(f"`update` of {type(optimizer).__name__} must call its `closure` at least once.")
    return gradients.started


@dataclass(frozen=True)
class _Changes:
    """What is added to a gradient, and what it is cut down to."""

    l1_penalty: float
    max_grad_norm: float | None
    max_grad_value: float | None


@dataclass
class _Gradients:
    """The closure of `MultiGradientOptimizer`: each call is a pass over the batches of a step."""

    accumulator: Accumulator
    optimizer: torch.optim.Optimizer
    micro_steps: Sequence[Batch]
    context: StepContext
    changes: _Changes
    has_failed: Tensor | None
    started: StartedUpdate | None = None
    """The sums of the first pass, with the gradient's norm of the last."""

    def __post_init__(self) -> None:
        self._carried = self.accumulator.carry
        self._sums: dict[str, Tensor] = {}

    @torch.enable_grad()
    def __call__(self) -> Tensor:
        """Compute the gradient of the loss per unit; return its norm (), after clipping."""
        statistics = (
            [(each, each.clone()) for each in running_statistics(self.accumulator.module)] if self._sums else []
        )
        if self._sums:
            self.optimizer.zero_grad(set_to_none=False)
            self.accumulator.carry = self._carried
        sums = self.accumulator.backward(self.micro_steps, self.context)  # seeded by the step: each pass drops the same
        for each, before in statistics:  # those of the first pass, at the weights of the step
            each.copy_(before)
        self._sums = self._sums or sums
        norm = self._normalise(sums["count"])
        self.started = StartedUpdate(self._sums, norm)
        if self.has_failed is None:
            self.started.finish()
        else:
            is_finite = torch.isfinite(norm) & torch.isfinite(sums["total"])
            torch.maximum(self.has_failed, (~is_finite).float(), out=self.has_failed)
            self.optimizer.found_inf = self.has_failed  # type: ignore[attr-defined]
        return self._clip(norm)

    def _normalise(self, count: Tensor) -> Tensor:
        """Divide gradients by the units and add the penalty; return the norm ()."""
        gradients = self._gradients()
        divisor = count.clamp_min(1.0) / self.accumulator.world_size  # gradients are means over the ranks
        torch._foreach_div_(gradients, divisor.float())  # of another dtype it takes a launch for each parameter
        if self.changes.l1_penalty:
            for p in self.accumulator.parameters:
                if p.dim() > 1 and p.grad is not None:
                    p.grad.add_(p.detach().sign(), alpha=self.changes.l1_penalty)
        return whole(nn.utils.get_total_norm(gradients))

    def _clip(self, norm: Tensor) -> Tensor:
        """Clip gradients of a norm (); return what it is then."""
        parameters, changes = self.accumulator.parameters, self.changes
        if changes.max_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, changes.max_grad_norm, norm)
        if changes.max_grad_value is not None:
            nn.utils.clip_grad_value_(parameters, changes.max_grad_value)
            norm = whole(nn.utils.get_total_norm(self._gradients()))
        return norm if changes.max_grad_norm is None else norm.clamp_max(changes.max_grad_norm)

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self.accumulator.parameters if p.grad is not None]


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
