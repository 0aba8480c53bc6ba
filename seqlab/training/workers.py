"""Forward and backward passes of a step's micro-steps, on all CPU threads or on one GPU.

On the CPU each worker is a thread that computes whole micro-steps on one core, on a replica that shares the model's
weights and has gradients of its own. Small products gain little from a second core: on two cores, two workers trained
a small Transformer 1.3 times as fast as two cores working on one micro-step did.
"""

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqlab.data.batch import Seq2SeqBatch
from seqlab.nn.dropout import drawing_from
from seqlab.objectives import Objective, StepContext
from seqlab.training.machine import Machine

Sums = dict[str, Tensor]


class Workers:
    """Compute the gradients of a step; which worker gets which micro-step is fixed, and so is the order of all sums."""

    def __init__(self, model: nn.Module, objective: Objective, machine: Machine, seed: int, count: int = 1) -> None:
        self.model, self.objective, self.machine, self.seed = model, objective, machine, seed
        self._replicas: list[tuple[nn.Module, Any]] = [(model, objective)]
        self._replicas += [_replicate(model, objective) for _ in range(count - 1)]
        self._pool = ThreadPoolExecutor(count, "seqlab-worker", torch.set_num_threads, (1,)) if count > 1 else None

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is optimised: the model's parameters and the objective's own."""
        return _parameters(self.model, self.objective)

    def backward(self, micro_steps: Sequence[Seq2SeqBatch], context: StepContext) -> Sums:
        """Add the gradients of all micro-steps to the model's and return the sums of their losses and counts."""
        shares = [range(i, len(micro_steps), len(self._replicas)) for i in range(len(self._replicas))]
        if self._pool is None:
            return self._work(0, micro_steps, shares[0], context)
        torch.set_num_threads(1)  # MKL has one setting for all threads
        futures = [self._pool.submit(self._work, i, micro_steps, share, context) for i, share in enumerate(shares)]
        parts = [future.result() for future in futures]
        torch.set_num_threads(len(self._replicas))
        own = self.parameters
        for replica in self._replicas[1:]:
            _move_gradients(_parameters(*replica), own)
        return _add(parts)

    def _work(self, worker: int, micro_steps: Sequence[Seq2SeqBatch], share: range, context: StepContext) -> Sums:
        model, objective = self._replicas[worker]
        parts = []
        for index in share:
            generator = self._generator(context.step, index)
            with drawing_from(generator), self.machine.autocast():
                batch = micro_steps[index].to(self.machine.device)
                loss = objective(model, batch, replace(context, generator=generator))
            loss.total.backward()
            parts.append({"total": loss.total.detach(), "count": loss.count, **loss.logs})
        return _add(parts)

    def _generator(self, step: int, micro_step: int) -> torch.Generator:
        """Seed by (seed, step, micro-step): no generator's state has to be saved, and no thread disturbs another."""
        words = np.random.SeedSequence((self.seed, step, micro_step)).generate_state(1, np.uint64)
        seed = int(words[0]) % 2**63
        if self.machine.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        return torch.Generator(self.machine.device).manual_seed(seed)


def _replicate(model: nn.Module, objective: Any) -> tuple[nn.Module, Any]:
    twin = copy.deepcopy((model, objective))
    for copied, own in zip(_parameters(*twin), _parameters(model, objective), strict=True):
        copied.data = own.data
    return twin


def _parameters(model: nn.Module, objective: Any) -> list[nn.Parameter]:
    modules = [model, objective] if isinstance(objective, nn.Module) else [model]
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def _move_gradients(origins: list[nn.Parameter], targets: list[nn.Parameter]) -> None:
    """Add gradients to those of other parameters and zero them."""
    pairs = [(origin, target) for origin, target in zip(origins, targets, strict=True) if origin.grad is not None]
    if not pairs:  # a worker that has had no micro-step yet
        return
    for _, target in pairs:
        if target.grad is None:
            target.grad = torch.zeros_like(target)
    gradients = [origin.grad for origin, _ in pairs if origin.grad is not None]
    torch._foreach_add_([target.grad for _, target in pairs if target.grad is not None], gradients)
    torch._foreach_zero_(gradients)


def _add(parts: Sequence[Sums]) -> Sums:
    sums: Sums = {}
    for part in parts:
        for name, value in part.items():
            sums[name] = sums[name] + value if name in sums else value
    return sums
