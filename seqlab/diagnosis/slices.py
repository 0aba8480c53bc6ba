"""Slices of the loss along one and two directions, and along the straight path between two runs.

Shapes: P trainable weights, flattened into one vector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqlab.diagnosis.curvature import MeanLoss
from seqlab.diagnosis.loss_surface import Advance, ignore_progress
from seqlab.diagnosis.spectrum import Eigenpair, Spectrum
from seqlab.diagnosis.workbench import Learner, Losses
from seqlab.runs.load import copy_weights


@dataclass(frozen=True)
class Direction:
    """A named direction (P,), whose length is the distance at the end of a slice."""

    name: str
    vector: Tensor


def random_directions(loss: MeanLoss, count: int = 2, seed: int = 1) -> list[Direction]:
    """Draw random directions, normalized by filter (Li et al. 2018, arXiv:1712.09913).

    Each row of a matrix, filter of a convolution, and vector of an embedding has the norm of its weights. Biases and
    scales of norms stay unchanged. The slice is thus the same for networks that differ by the scale of their filters.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = []
    for number in range(count):
        drawn = torch.randn(loss.num_weights, generator=generator).to(loss.weights)
        parts = [
            _with_row_norms(part, weight) if weight.dim() > 1 else torch.zeros_like(part)
            for part, weight in zip(loss.split(drawn), loss.split(loss.weights), strict=True)
        ]
        directions.append(Direction(f"random {number + 1}", loss.flatten(parts)))
    return directions


def _with_row_norms(part: Tensor, weight: Tensor) -> Tensor:
    """Scale each row (the first dimension) to the norm of the same row of the weights."""
    norms, target_norms = (x.flatten(1).norm(dim=1).view(-1, *[1] * (x.dim() - 1)) for x in (part, weight))
    return part * (target_norms / norms.clamp_min(torch.finfo(part.dtype).tiny))


def eigenvector_directions(loss: MeanLoss, spectrum: Spectrum) -> list[Direction]:
    """Return the eigenvectors of the lowest and the highest eigenvalue.

    At its end, the quadratic approximation of the loss has changed by the loss itself, but the direction is at most as
    long as the weights.
    """
    level, longest = max(loss.losses().mean, 1e-3), float(loss.weights.norm()) or 1.0

    def direction(name: str, pair: Eigenpair) -> Direction:
        length = min(longest, (2 * level / max(abs(pair.value), 1e-12)) ** 0.5)
        return Direction(name, length * pair.vector)

    return [direction("lowest eigenvector", spectrum.lowest), direction("highest eigenvector", spectrum.highest)]


@dataclass(frozen=True)
class Slice:
    """Losses along a direction: `positions` from -1 to 1 are multiples of the direction, of the given length."""

    name: str
    length: float
    positions: list[float]
    losses: list[float]


def slice_line(loss: MeanLoss, direction: Direction, num_points: int = 21, advance: Advance = ignore_progress) -> Slice:
    """Compute the loss along a direction, from minus to plus its length."""
    positions = np.linspace(-1, 1, num_points).tolist()
    losses = []
    for position in positions:
        losses.append(loss.losses(position * direction.vector).mean)
        advance(1)
    return Slice(direction.name, float(direction.vector.norm()), positions, losses)


@dataclass(frozen=True)
class Plane:
    """Losses on a grid of two directions, from minus to plus their lengths: losses[row][column] for y, x."""

    names: tuple[str, str]
    lengths: tuple[float, float]
    positions: list[float]
    losses: list[list[float]]


def slice_plane(
    loss: MeanLoss, x: Direction, y: Direction, num_points: int = 21, advance: Advance = ignore_progress
) -> Plane:
    """Compute the loss on a grid of two directions."""
    positions = np.linspace(-1, 1, num_points).tolist()
    losses = []
    for up in positions:
        row = []
        for right in positions:
            row.append(loss.losses(right * x.vector + up * y.vector).mean)
            advance(1)
        losses.append(row)
    lengths = float(x.vector.norm()), float(y.vector.norm())
    return Plane((x.name, y.name), lengths, positions, losses)


@dataclass(frozen=True)
class Path:
    """Losses on the straight line from the weights of a run (position 0) to those of another one (position 1)."""

    distance: float
    """Distance of the weights."""
    relative_distance: float
    """Distance as a share of the norm of the weights at the start."""
    positions: list[float]
    losses: list[float]
    barrier: float
    """Largest difference between the loss and the straight line from its value at the start to that at the end
    (Entezari et al. 2022, arXiv:2110.06296)."""
    barrier_position: float
    barrier_standard_error: float
    """Standard error over batches of rows."""


def interpolate(
    learner: Learner,
    other: Mapping[str, Tensor],
    loss: MeanLoss,
    num_points: int = 21,
    advance: Advance = ignore_progress,
) -> Path:
    """Compute the loss on the straight line from the weights of a model to those of another run; buffers likewise.

    Raises:
        ValueError: the weights have other names or shapes than those of the model.
    """
    start, folder = learner.state(), learner.bench.folder.path
    for name in sorted(start.keys() | other.keys()):
        shapes = [tuple(weights[name].shape) if name in weights else "missing" for weights in (start, other)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"There is no straight line between the two runs: `{name}` is {shapes[0]} in {folder}, but {shapes[1]} "
                "in the other run. Compare runs of the same model and vocabulary."
            )
    positions, losses = np.linspace(0, 1, num_points), []
    try:
        for position in positions.tolist():
            copy_weights(learner.model, {name: _mix(start[name], other[name], position) for name in start}, folder)
            losses.append(loss.losses())
            advance(1)
    finally:
        copy_weights(learner.model, start, folder)
    names = [name for name, _ in learner.model.named_parameters()]
    distance = _norm([other[name].to(start[name]) - start[name] for name in names])
    norm = _norm([start[name] for name in names])
    return _measure_barrier(distance, distance / (norm or 1.0), positions, losses)


def _mix(start: Tensor, end: Tensor, position: float) -> Tensor:
    """Interpolate weights or buffers; integers are those of the start."""
    return start.lerp(end.to(start), position) if start.is_floating_point() else start


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(torch.stack([tensor.norm() for tensor in tensors]).norm())


def _measure_barrier(
    distance: float, relative_distance: float, positions: NDArray[np.float64], losses: Sequence[Losses]
) -> Path:
    """Find the largest excess of the loss over the line between its values at both ends."""
    first, last = losses[0], losses[-1]
    excess = [
        Losses(loss.totals - (1 - t) * first.totals - t * last.totals, loss.counts)
        for t, loss in zip(positions, losses, strict=True)
    ]
    highest = int(np.argmax([value.mean for value in excess]))
    return Path(
        distance,
        relative_distance,
        positions.tolist(),
        [loss.mean for loss in losses],
        excess[highest].mean,
        float(positions[highest]),
        excess[highest].standard_error,
    )
