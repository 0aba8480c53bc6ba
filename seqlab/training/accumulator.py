"""Gradient accumulation: forward and backward passes of the micro-steps of a step, in fp32."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqlab.data.batch import Batch
from seqlab.objectives import Objective, StepContext
from seqlab.objectives.loss import CollectingObjective, ObservingObjective, check_loss, numbered
from seqlab.training.data_parallel import mark_idle, mean_over_ranks, parallelize, shard_like, sync_gradients_if_last
from seqlab.training.device_context import DeviceContext

Carry = dict[str, Tensor]
"""Hidden state carried across truncated-BPTT steps: tensors (B, ...)."""


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """Seed torch's default generator of a device within this context; yield a generator for explicit draws.

    On the CPU both are the default generator, and its earlier state is restored. Layers draw from it, because
    activation checkpointing restores its state and thus repeats the same dropout masks.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):  # torch seeds only the current device
            torch.cuda.manual_seed(seed)
        yield torch.Generator(device).manual_seed(seed)
        return
    before = torch.get_rng_state()
    try:
        yield torch.default_generator.manual_seed(seed)
    finally:
        torch.set_rng_state(before)


def concat_carries(carries: Sequence[Carry | None]) -> Carry | None:
    """Concatenate the rows of several hidden states; None if there are none."""
    present = [carry for carry in carries if carry is not None]
    return {name: torch.cat([carry[name] for carry in present]) for name in present[0]} if present else None


def trained_row_masks(model: nn.Module, frozen: Mapping[str, Tensor]) -> list[tuple[nn.Parameter, Tensor]]:
    """Return each parameter with frozen rows, and a mask (V, D): 1 for trained rows, 0 for frozen rows.

    The mask is sharded like the parameter. `frozen` maps names of parameters to indices of rows.
    """
    masks = []
    for name, parameter in model.named_parameters():
        if name in frozen:
            trained = torch.ones(parameter.size(0), 1, device=parameter.device)
            trained[frozen[name].to(parameter.device)] = 0
            masks.append((parameter, shard_like({name: trained.expand_as(parameter)}, {name: parameter})[name]))
    return masks


def _num_added(sums: Mapping[str, Tensor]) -> int:
    """Return the number of added losses."""
    return sum(name.startswith("total ") for name in sums)


class LossModule(nn.Module):
    """Model and objective in one forward pass, since the loss may use weights of the model, such as the projection."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch, context: StepContext) -> tuple[dict[str, Tensor], Carry | None]:
        """Return the sums over a micro-step, and the hidden state for the next batch of the same text.

        The sums are those of `Loss.sums`; the totals are differentiable.
        """
        loss = self.objective(self.model, batch, context)
        check_loss(loss)
        return loss.sums(), loss.carry


class Accumulator:
    """Accumulate gradients of micro-steps in the parameters of a model and its objective.

    Both are moved to the device. With several ranks the gradients are the mean over the ranks. `frozen` maps names of
    parameters to indices of rows; the gradients of these rows stay 0.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        device_context: DeviceContext,
        seed: int,
        frozen: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.device_context, self.seed = device_context, seed
        self.world_size = device_context.world.world_size
        if device_context.is_compiled:
            model.compile()
        self.model, self.objective = model, objective
        self.module = parallelize(LossModule(model, objective), device_context)
        self.trained_row_masks = trained_row_masks(model, frozen or {})
        self.carry: Carry | None = None
        """Hidden state after the last step, for the next step of the same text: the rows of this rank."""
        self._added_gradients: dict[int, list[Tensor]] = {}
        """Number of each added loss -> the gradient of its sum over the micro-steps, for each parameter."""
        self._names: list[str] = []
        """Names of the sums, which all ranks add in the same order."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Trainable parameters of the model and of the objective."""
        return [p for p in self.module.parameters() if p.requires_grad]

    @property
    def partly_frozen(self) -> list[nn.Parameter]:
        """Parameters with frozen rows."""
        return [parameter for parameter, _ in self.trained_row_masks]

    @property
    def num_passes(self) -> int:
        """Number of updates in a step, with the same data."""
        return self.objective.passes if isinstance(self.objective, CollectingObjective) else 1

    def collect(self, micro_steps: Sequence[Batch], context: StepContext) -> list[Any]:
        """Return what the objective collects for each micro-step with the current weights; None if it does not."""
        if not isinstance(self.objective, CollectingObjective):
            return [None] * len(micro_steps)
        if self.device_context.is_sharded:
            raise ValueError(
                "An objective that collects data needs all weights: set `training.parallel` to `ddp` instead of `fsdp`."
            )
        device = self.device_context.device
        with self.device_context.autocast():
            batches = (micro_step.to(device, non_blocking=True) for micro_step in micro_steps)
            return [self.objective.collect(self.model, batch, context) for batch in batches]

    def observe(self, sums: dict[str, Tensor]) -> None:
        """Pass the sums of a step to the objective, for its statistics of earlier steps."""
        if isinstance(self.objective, ObservingObjective):
            self.objective.observe(sums)

    def backward(
        self, micro_steps: Sequence[Batch], context: StepContext, collected: Sequence[Any] | None = None
    ) -> dict[str, Tensor]:
        """Run this rank's micro-steps; return the sums of all ranks' losses, counts and logs, in fp64.

        Each log has its own count, because it may be missing in some micro-steps: see `COUNT_OF`. `collected` is the
        result of `collect`, if the objective collects data.
        """
        sums: dict[str, Tensor] = {}
        self._added_gradients = {}
        carries: list[Carry | None] = []
        first_row = 0  # of the next micro-step, among the rows of this rank
        for index, micro_step in enumerate(micro_steps):
            batch = micro_step.to(self.device_context.device, non_blocking=True)
            if self.world_size > 1:
                mark_idle(self.module, batch.num_targets == 0)
            with sync_gradients_if_last(self.module, is_last=index == len(micro_steps) - 1):
                carry = None
                if batch.continues and self.carry is not None:
                    rows = slice(first_row, first_row + len(batch.indices))
                    carry = {name: value[rows] for name, value in self.carry.items()}
                micro_context = replace(context, carry=carry, collected=collected and collected[index])
                micro_sums, carry = self.forward(batch, index, micro_context)
                if batch.num_targets:  # an idle micro-step repeats rows of another rank
                    carries.append(carry)
                    first_row += len(batch.indices)
                self._backward(micro_sums)
            for name, value in micro_sums.items():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        self.carry = concat_carries(carries)
        sums = self._join_added(self._sum_of_ranks(sums))
        for parameter, mask in self.trained_row_masks:
            assert parameter.grad is not None
            parameter.grad.mul_(mask)
        return sums

    def forward(self, batch: Batch, index: int, context: StepContext) -> tuple[dict[str, Tensor], Carry | None]:
        """Run the forward pass of the micro-step with number `index` of its step, with its random numbers.

        Returns the sums of `Loss.sums`, whose totals are differentiable, and the hidden state after the batch.
        """
        seed = self._seed(context.step, index)
        with seeded(seed, self.device_context.device) as generator, self.device_context.autocast():
            result: tuple[dict[str, Tensor], Carry | None] = self.module(batch, replace(context, generator=generator))
            return result

    def _backward(self, sums: dict[str, Tensor]) -> None:
        """Accumulate the gradient of the loss in the parameters, and those of added losses apart from it."""
        for index in range(1, _num_added(sums) + 1):
            if self.device_context.is_sharded:
                raise ValueError(
                    "An objective that adds losses of several units does not support `training.parallel: fsdp`: set it "
                    "to `ddp`."
                )
            # Unlike `backward`, this does not start the reduction of gradients over the ranks.
            gradients = torch.autograd.grad(
                sums[numbered("total", index)], self.parameters, retain_graph=True, allow_unused=True
            )
            summed = self._added_gradients.setdefault(
                index, [torch.zeros_like(parameter) for parameter in self.parameters]
            )
            for total, gradient in zip(summed, gradients, strict=True):
                if gradient is not None:
                    total.add_(gradient)
        total = sums["total"]
        if self.world_size > 1:  # DistributedDataParallel waits for the gradient of each parameter
            total = total + sum(0.0 * sums[numbered("total", index)] for index in self._added_gradients)
        total.backward()

    def _join_added(self, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add the gradients and totals of added losses to those of the first loss, by the ratio of their units.

        `sums` are those of all ranks. Divided by the units of the first loss, each term is then divided by its own.
        """
        for index in range(1, _num_added(sums) + 1):
            total, count = sums.pop(numbered("total", index)), sums.pop(numbered("count", index))
            ratio = sums["count"].clamp_min(1.0) / count.clamp_min(1.0)
            sums["total"] = sums["total"] + total * ratio
            for parameter, gradient in zip(self.parameters, self._added_gradients[index], strict=True):
                assert parameter.grad is not None
                parameter.grad.add_(mean_over_ranks(gradient, self.world_size) * ratio.to(gradient))
        return sums

    def _sum_of_ranks(self, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add the sums of all ranks, in fp64; a log that a rank lacks counts as 0 there.

        Raises:
            ValueError: there are several ranks, and no rank had this log in the first step.
        """
        world = self.device_context.world
        if world.is_single_process:
            self._names = list(sums)
        elif not self._names:
            self._names = sorted(set(chain(*world.gather(list(sums)))))
        if late := sums.keys() - set(self._names):
            raise ValueError(
                f"An objective on several processes must return the same logs in each step, but `{min(late)}` was "
                "missing in the first step: return 0 for a log without a value."
            )
        zero = torch.zeros_like(sums["total"], dtype=torch.float64)
        values = world.sum(torch.stack([sums[name].double() if name in sums else zero for name in self._names]))
        return dict(zip(self._names, values.unbind(), strict=True))

    def gather_carry(self) -> Carry:
        """Return the hidden states after the last step of all ranks, concatenated; empty if there are none."""
        carry = None if self.carry is None else {name: value.cpu() for name, value in self.carry.items()}
        return concat_carries(self.device_context.world.gather(carry)) or {}

    def restore_carry(self, gathered: Carry) -> None:
        """Set this rank's rows of the hidden states that `gather_carry` returned."""
        world = self.device_context.world
        self.carry = None
        if gathered:
            count = len(next(iter(gathered.values())))
            rows = slice(count * world.rank // world.world_size, count * (world.rank + 1) // world.world_size)
            self.carry = {name: value[rows].to(self.device_context.device) for name, value in gathered.items()}

    def _seed(self, step: int, micro_step: int) -> int:
        """Derive a seed from (seed, step, micro-step, rank), so that checkpoints need no generator state."""
        rank = self.device_context.world.rank
        sequence = np.random.SeedSequence((self.seed, step, micro_step), spawn_key=(rank,) if rank else ())
        return int(sequence.generate_state(1, np.uint64)[0]) % 2**63
