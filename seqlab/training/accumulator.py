"""Forward and backward passes of a step's micro-steps: gradients add up, in fp32, until the step is whole."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from seqlab.data.batch import Batch
from seqlab.objectives import Objective, StepContext
from seqlab.objectives.loss import check_loss
from seqlab.training.device_context import DeviceContext
from seqlab.training.parallel import divided, mark_idle, parallelize, sync_gradients_if_last

Carry = dict[str, Tensor]
"""A state that is carried from batch to batch: tensors whose first dimension are the rows."""


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """Seed torch's default generator of a device within this context, and give a generator for draws of one's own.

    On the CPU that is the default one, whose earlier state comes back. Layers draw from it, so that activation
    checkpointing, which restores its state, draws the same masks again.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):  # torch seeds the current device only
            torch.cuda.manual_seed(seed)
        yield torch.Generator(device).manual_seed(seed)
        return
    before = torch.get_rng_state()
    try:
        yield torch.default_generator.manual_seed(seed)
    finally:
        torch.set_rng_state(before)


def concat_carries(parts: Sequence[Carry | None]) -> Carry | None:
    """Put the rows of several parts one behind the other."""
    present = [part for part in parts if part is not None]
    return {name: torch.cat([part[name] for part in present]) for name in present[0]} if present else None


def trained_rows(model: nn.Module, frozen: Mapping[str, Tensor]) -> list[tuple[nn.Parameter, Tensor]]:
    """Give parameters with 1 for each row that is trained and 0 for those that `frozen` lists, (V, 1) or divided."""
    found = []
    for name, parameter in model.named_parameters():
        if name in frozen:
            trained = torch.ones(parameter.size(0), 1, device=parameter.device)
            trained[frozen[name].to(parameter.device)] = 0
            found.append((parameter, divided({name: trained.expand_as(parameter)}, {name: parameter})[name]))
    return found


class LossModule(nn.Module):
    """A model and its objective in one forward pass: also where the loss itself uses a weight, as the projection's."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch, context: StepContext) -> tuple[dict[str, Tensor], Carry | None]:
        """Name the sums of a micro-step: `total`, which is differentiable, `count` and the objective's logs.

        Also gives what the model remembers for the batch that goes on behind this one.
        """
        loss = self.objective(self.model, batch, context)
        check_loss(loss)
        return {"total": loss.total, "count": loss.count, **loss.logs}, loss.carry


class Accumulator:
    """Add the gradients of micro-steps to those of a model and of an objective that has parameters.

    Both are moved to the device. On several ranks the gradients are the mean over the ranks. Of the model's parameters
    that `frozen` names, the gradients of some rows stay 0.
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
        if device_context.compiles:
            model.compile()
        self.module = parallelize(LossModule(model, objective), device_context)
        self._trained = trained_rows(model, frozen or {})
        self.carry: Carry | None = None
        """What the last step left behind for the one that goes on there: tensors whose rows are those of this rank."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is optimised: the model's parameters and the objective's own."""
        return [p for p in self.module.parameters() if p.requires_grad]

    @property
    def partly_frozen(self) -> list[nn.Parameter]:
        """Parameters that have rows which must not move."""
        return [parameter for parameter, _ in self._trained]

    def backward(self, micro_steps: Sequence[Batch], context: StepContext) -> dict[str, Tensor]:
        """Run this rank's micro-steps; return the sums of all ranks' losses, counts and logs, in fp64."""
        sums: dict[str, Tensor] = {}
        carries: list[Carry | None] = []
        done_rows = 0
        for index, micro_step in enumerate(micro_steps):
            batch = micro_step.to(self.device_context.device, non_blocking=True)
            if self.world_size > 1:
                mark_idle(self.module, batch.num_targets == 0)
            with sync_gradients_if_last(self.module, is_last=index == len(micro_steps) - 1):
                carry = None
                if batch.continues and self.carry is not None:
                    rows = slice(done_rows, done_rows + len(batch.indices))
                    carry = {name: value[rows] for name, value in self.carry.items()}
                seed = self._seed(context.step, index)
                with seeded(seed, self.device_context.device) as generator, self.device_context.autocast():
                    found, carry = self.module(batch, replace(context, generator=generator, carry=carry))
                if batch.num_targets:  # the rows of an idle one are another rank's
                    carries.append(carry)
                    done_rows += len(batch.indices)
                found["total"].backward()
            for name, value in found.items():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        for parameter, trained in self._trained:
            assert parameter.grad is not None
            parameter.grad.mul_(trained)
        self.carry = concat_carries(carries)
        values = self.device_context.world.sum(torch.stack([value.double() for value in sums.values()]))
        return dict(zip(sums, values.unbind(), strict=True))

    def gather_carry(self) -> Carry:
        """Give what the last step left behind, of all ranks, one rank's rows behind the other's; empty for nothing."""
        own = None if self.carry is None else {name: value.cpu() for name, value in self.carry.items()}
        return concat_carries(self.device_context.world.gather(own)) or {}

    def restore_carry(self, whole: Carry) -> None:
        """Take this rank's rows of what a step has left behind."""
        world = self.device_context.world
        self.carry = None
        if whole:
            count = len(next(iter(whole.values())))
            rows = slice(count * world.rank // world.world_size, count * (world.rank + 1) // world.world_size)
            self.carry = {name: value[rows].to(self.device_context.device) for name, value in whole.items()}

    def _seed(self, step: int, micro_step: int) -> int:
        """Mix (seed, step, micro-step, rank): no state of a generator is saved, and no rank disturbs another."""
        rank = self.device_context.world.rank
        sequence = np.random.SeedSequence((self.seed, step, micro_step), spawn_key=(rank,) if rank else ())
        return int(sequence.generate_state(1, np.uint64)[0]) % 2**63
