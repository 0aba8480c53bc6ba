"""Sizes of the gradients and updates of each parameter, measured at a few steps by hooks of the optimizer.

Each update is compared with the initial weights and with those before the update: their ratio is about 1e-3 in a
healthy training, and far larger or smaller if the learning rate is wrong.
"""

from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqlab.training.data_parallel import gather_shards, local_shard

SAMPLED_ELEMENTS = 2**14
"""Number of elements of a matrix whose update is measured: more would change a norm by less than 1%."""


class UpdateSize(NamedTuple):
    """Update of one matrix, by the norms of a sample of its elements."""

    update: float
    weights: float
    """Norm of the weights before the update."""
    initial: float
    """Norm of the weights before training."""


class UpdateSizes:
    """Measurement of gradients and updates, at the steps for which `start` was called.

    It keeps values on the device until they are read, and copies only samples of matrices. Of a sharded matrix, the
    sample is that of this rank.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        self._parameters = parameters
        self._matrices = {name: p for name, p in parameters.items() if p.dim() > 1}
        self._initial = {name: _sample(p).norm() for name, p in self._matrices.items()}
        self._before: dict[str, Tensor] = {}
        self._norms: dict[str, Tensor] = {}
        self._gradients: Tensor | None = None
        self._is_started = False
        self._handles = [
            optimizer.register_step_pre_hook(self._before_update),
            optimizer.register_step_post_hook(self._after_update),
        ]

    def start(self) -> None:
        """Measure the next update."""
        self._is_started, self._norms = True, {}

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    @torch.no_grad()
    def _before_update(self, *_: Any) -> None:
        if not self._is_started:
            return
        self._before = {name: _sample(p).clone() for name, p in self._matrices.items()}
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters.values()]
        if gradients:
            # not the sum of squares, which is 0 in fp32 for tiny gradients
            sums = torch.stack([gather_shards(norms) for norms in torch._foreach_norm(gradients, 1)])
            self._gradients = sums if self._gradients is None else self._gradients + sums

    @torch.no_grad()
    def _after_update(self, *_: Any) -> None:
        if not self._is_started:
            return
        self._is_started = False
        for name, before in self._before.items():
            update = (_sample(self._matrices[name]) - before).norm()
            self._norms[name] = torch.stack([update, before.norm(), self._initial[name]])
        self._before = {}

    def without_gradient(self) -> list[str]:
        """Return the parameters without gradient in all measured steps; none if no parameter had one."""
        sums = [] if self._gradients is None else self._gradients.tolist()
        if not any(sums):
            return []
        return [name for name, value in zip(self._parameters, sums, strict=True) if value == 0]

    def updates(self) -> dict[str, UpdateSize]:
        """Return the size of the last measured update of each matrix."""
        if not self._norms:
            return {}
        values = torch.stack(list(self._norms.values())).tolist()
        return {name: UpdateSize(*sizes) for name, sizes in zip(self._norms, values, strict=True)}


def ratio_to_initial(updates: dict[str, UpdateSize]) -> float | None:
    """Return the median ratio of updates to initial weights, without matrices that started at 0; None without any."""
    ratios = [size.update / size.initial for size in updates.values() if size.initial]
    return median(ratios) if ratios else None


def ratio_to_weights(updates: dict[str, UpdateSize]) -> float | None:
    """Return the largest ratio of an update to the weights before it; None without a matrix that is not 0."""
    return max((size.update / size.weights for size in updates.values() if size.weights), default=None)


def _sample(parameter: Tensor) -> Tensor:
    """Return up to `SAMPLED_ELEMENTS` elements of a matrix at equal distances: a view of it."""
    flat = local_shard(parameter.detach()).flatten()
    return flat[:: max(1, -(-flat.numel() // SAMPLED_ELEMENTS))]
