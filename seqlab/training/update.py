"""One update: gradients of the micro-steps, normalization, clipping and the optimizer step, in a fixed order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.data.batch import Batch
from seqlab.objectives import StepContext
from seqlab.objectives.loss import COUNT_OF
from seqlab.optim import MultiGradientOptimizer
from seqlab.training.accumulator import Accumulator
from seqlab.training.data_parallel import gather_shards
from seqlab.training.running_statistics import running_statistics


class NonFiniteUpdate(ArithmeticError):
    """The loss or the gradient norm is infinite or NaN; this gradient changes no weight."""


@dataclass(frozen=True)
class Update:
    """Metrics of one update, summed over its micro-steps and ranks."""

    total: float
    """Sum of the loss."""
    count: float
    """Number of units that the loss is summed over, such as target tokens; 0 if no row has a target."""
    logs: dict[str, float]
    """Sums of the objective's other metrics."""
    log_counts: dict[str, float]
    """For each log, the number of units of the micro-steps that have it."""
    grad_norm: float
    """Norm of the gradient of the loss per unit, before clipping."""


class StartedUpdate:
    """An update that may still be running on the device. On a GPU, `finish` waits for this update only."""

    def __init__(self, sums: dict[str, Tensor], norm: Tensor) -> None:
        """Start to copy `sums` (total, count and logs of all ranks) and the gradient norm, all (), to the host."""
        self._names = list(sums)
        values = torch.stack([*(value.double() for value in sums.values()), norm.double()])
        self._values = values.to("cpu", non_blocking=True)
        self._copied = torch.cuda.Event() if values.is_cuda else None
        if self._copied is not None:
            self._copied.record()

    def finish(self) -> Update:
        """Wait for the update and return its metrics; raise NonFiniteUpdate, or ValueError for a loss over 0 units."""
        if self._copied is not None:
            self._copied.synchronize()
        *values, norm = self._values.tolist()
        logs = dict(zip(self._names, values, strict=True))
        total, count = logs.pop("total"), logs.pop("count")
        if count == 0 and total != 0:
            raise ValueError(
                "The objective returned a nonzero loss with `Loss.count` 0: it must be the number of summed units."
            )
        log_counts = {name: logs.pop(f"{COUNT_OF}{name}") for name in list(logs) if f"{COUNT_OF}{name}" in logs}
        # Several ranks add 0 over 0 units for a log that none of them has in this step.
        logs = {name: value for name, value in logs.items() if value or log_counts[name]}
        if not (math.isfinite(norm) and math.isfinite(total)):
            raise NonFiniteUpdate(f"gradient norm {norm}, loss {total} over {count:.0f} units")
        return Update(total, count, logs, log_counts, norm)


def can_skip_updates(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimizer can skip an update if a tensor on its device (`found_inf`) is 1."""
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
    """Run one optimizer step over several micro-steps: backward, normalize, check, clip, step, zero the gradients.

    An objective that collects data may ask for several optimizer steps with the same data; the metrics are then those
    of the last one.

    Gradients are divided once, by the number of units in all micro-steps of all ranks (at least 1). So the split of a
    step into micro-steps and ranks, and its padding, do not change the result.

    Without `has_failed`, errors are raised as in `StartedUpdate.finish`, on all ranks, before this gradient changes the
    weights. With `has_failed`, () fp32 on the device, the host does not wait: the tensor becomes 1 if the loss or the
    gradient norm is not finite, all later updates are skipped (see `can_skip_updates`), and `finish` raises the error.
    """
    limits = _GradientLimits(l1_penalty, max_grad_norm, max_grad_value)
    collected = accumulator.collect(micro_steps, context)
    for group in optimizer.param_groups:
        group["lr"] = lr
    for number in range(accumulator.num_passes):
        context = replace(context, number_of_pass=number)
        gradients = _Gradients(accumulator, optimizer, micro_steps, context, limits, has_failed, collected)
        try:
            if isinstance(optimizer, MultiGradientOptimizer):
                optimizer.update(gradients)
            else:
                gradients()
                optimizer.step()
        except ArithmeticError:
            optimizer.zero_grad()
            raise
        # Not freed: the next backward pass adds into the same memory.
        optimizer.zero_grad(set_to_none=False)
    accumulator.observe(gradients.sums)
    if gradients.started is None:
        raise ValueError(f"`update` of {type(optimizer).__name__} must call its `closure` at least once.")
    return gradients.started


@dataclass(frozen=True)
class _GradientLimits:
    """L1 penalty and clipping limits of gradients."""

    l1_penalty: float
    max_grad_norm: float | None
    max_grad_value: float | None


@dataclass
class _Gradients:
    """Closure for `MultiGradientOptimizer`: each call runs forward and backward passes over the step's batches."""

    accumulator: Accumulator
    optimizer: torch.optim.Optimizer
    micro_steps: Sequence[Batch]
    context: StepContext
    limits: _GradientLimits
    has_failed: Tensor | None
    collected: Sequence[Any]
    """Data that the objective collected for each micro-step."""
    started: StartedUpdate | None = None
    """Sums of the first pass, and gradient norm of the last pass."""

    def __post_init__(self) -> None:
        self._initial_carry = self.accumulator.carry
        self.sums: dict[str, Tensor] = {}

    @torch.enable_grad()
    def __call__(self) -> Tensor:
        """Compute the gradient of the loss per unit; return its norm (), after clipping."""
        statistics = (
            [(buffer, buffer.clone()) for buffer in running_statistics(self.accumulator.module)] if self.sums else []
        )
        if self.sums:
            self.optimizer.zero_grad(set_to_none=False)
            self.accumulator.carry = self._initial_carry
        sums = self.accumulator.backward(
            self.micro_steps, self.context, self.collected
        )  # seeded by the step: the same dropout masks in each pass
        for buffer, before in statistics:  # keep the statistics of the first pass, at the weights before the step
            buffer.copy_(before)
        self.sums = self.sums or sums
        norm = self._normalize(sums["count"])
        if self.has_failed is None:
            self.started = StartedUpdate(self.sums, norm)
            self.started.finish()
        else:
            is_finite = torch.isfinite(norm) & torch.isfinite(sums["total"])
            torch.maximum(self.has_failed, (~is_finite).float(), out=self.has_failed)
            self.optimizer.found_inf = self.has_failed  # type: ignore[attr-defined]
            # NaN also if an earlier pass of this step has failed, whose own norm nobody reads.
            self.started = StartedUpdate(self.sums, norm.masked_fill(is_finite & self.has_failed.bool(), math.nan))
        return self._clip(norm)

    def _normalize(self, count: Tensor) -> Tensor:
        """Divide gradients by the number of units and add the L1 penalty; return the norm ()."""
        gradients = self._gradients()
        divisor = count.clamp_min(1.0) / self.accumulator.world_size  # gradients are means over the ranks
        torch._foreach_div_(gradients, divisor.float())  # another dtype needs one kernel launch per parameter
        if self.limits.l1_penalty:
            for p in self.accumulator.parameters:
                if p.dim() > 1 and p.grad is not None:
                    p.grad.add_(p.detach().sign(), alpha=self.limits.l1_penalty)
        return gather_shards(nn.utils.get_total_norm(gradients))

    def _clip(self, norm: Tensor) -> Tensor:
        """Clip gradients of the given norm (); return the norm after clipping ()."""
        parameters, limits = self.accumulator.parameters, self.limits
        if limits.max_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, limits.max_grad_norm, norm)
        if limits.max_grad_value is not None:
            nn.utils.clip_grad_value_(parameters, limits.max_grad_value)
            norm = gather_shards(nn.utils.get_total_norm(self._gradients()))
        return norm if limits.max_grad_norm is None else norm.clamp_max(limits.max_grad_norm)

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
    """Run one optimizer step and wait for it; see `start_update`."""
    return start_update(accumulator, optimizer, micro_steps, context, lr, max_grad_norm, max_grad_value).finish()
