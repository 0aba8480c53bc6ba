"""Forward and backward passes of a step's micro-steps: gradients add up, in fp32, until the step is whole."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from seqlab.data.batch import Seq2SeqBatch
from seqlab.nn.dropout import drawing_from
from seqlab.objectives import Objective, StepContext
from seqlab.training.machine import Machine


class Accumulator:
    """Add the gradients of micro-steps to those of a model and of an objective that has parameters."""

    def __init__(self, model: nn.Module, objective: Objective, machine: Machine, seed: int) -> None:
        self.model, self.objective, self.machine, self.seed = model, objective, machine, seed

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is optimised: the model's parameters and the objective's own."""
        modules = [self.model, self.objective] if isinstance(self.objective, nn.Module) else [self.model]
        return [p for module in modules for p in module.parameters() if p.requires_grad]

    def backward(self, micro_steps: Sequence[Seq2SeqBatch], context: StepContext) -> dict[str, Tensor]:
        """Run all micro-steps, leaving the sum of their gradients; return the sums of their losses, counts and logs."""
        sums: dict[str, Tensor] = {}
        for index, micro_step in enumerate(micro_steps):
            generator = self._generator(context.step, index)
            batch = micro_step.to(self.machine.device)
            with drawing_from(generator), self.machine.autocast():
                loss = self.objective(self.model, batch, replace(context, generator=generator))
            loss.total.backward()
            for name, value in {"total": loss.total.detach(), "count": loss.count, **loss.logs}.items():
                sums[name] = sums[name] + value if name in sums else value
        return sums

    def _generator(self, step: int, micro_step: int) -> torch.Generator:
        """Seed by (seed, step, micro-step): no generator's state has to be saved, and no rank disturbs another."""
        words = np.random.SeedSequence((self.seed, step, micro_step)).generate_state(1, np.uint64)
        seed = int(words[0]) % 2**63
        if self.machine.device.type == "cuda":
            with torch.cuda.device(self.machine.device):  # torch seeds the current device only
                torch.cuda.manual_seed(seed)
        return torch.Generator(self.machine.device).manual_seed(seed)
