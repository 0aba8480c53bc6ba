"""Shape of the loss around the weights of a run: minimum or saddle, escape, slices, and the path to another run.

Shapes: P trainable weights, flattened into one vector.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from seqlab.data.batch import DivisibleBatch
from seqlab.diagnosis.curvature import MeanLoss
from seqlab.diagnosis.spectrum import Eigenpair, Spectrum, estimate_spectrum, exact_spectrum
from seqlab.diagnosis.workbench import GROUP_ROWS, MIN_GROUPS, Learner, Losses, select_rows

MAX_EXACT_WEIGHTS = 2000
"""Number of weights up to which all eigenvalues are computed."""
SHORTEST_STEP, NUM_STEP_LENGTHS = 1e-4, 14
"""Shortest step of a line search, as a share of the norm of the weights, and the number of doublings after it."""
SLOPE_SHARE = 0.01
"""Share of the loss by which a step against the gradient lowers it at a point that is not critical."""

Kind = Literal["slope", "saddle", "minimum", "unresolved"]
Advance = Callable[[int], None]
"""Progress callback: the number of newly completed products or losses."""


def ignore_progress(count: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Step:
    """The step along a direction, of 14 lengths and both signs, after which the loss is lowest."""

    vector: Tensor
    """(P,)"""
    relative_length: float
    """Length as a share of the norm of the weights; 0 if no step lowers the loss."""
    loss: float
    """Loss before the step."""
    decrease: float
    standard_error: float
    """Standard error of the decrease over batches of rows."""
    other_decrease: float | None = None
    """Decrease on rows that the direction was not computed from."""
    other_standard_error: float | None = None

    @property
    def gain(self) -> float:
        """Decrease of the loss; with other rows on them, and 0 if it is within two standard errors."""
        if self.other_decrease is None or self.other_standard_error is None:
            return self.decrease
        return self.other_decrease if self.other_decrease > 2 * self.other_standard_error else 0.0

    def to_json(self) -> dict[str, Any]:
        """Render for JSON, without the vector."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "vector"}
        return {**values, "gain": self.gain}


@dataclass(frozen=True)
class PointAnalysis:
    """What the loss is like at a point: its gradient, its curvature, and what steps lower it."""

    loss: float
    gradient_norm: float
    gradient_standard_error: float
    """Norm of the standard error of the gradient over batches of rows."""
    spectrum: Spectrum
    lowest_on_other_rows: tuple[float, float] | None
    """Curvature along the lowest eigenvector on other rows, and its standard error."""
    descent: Step
    """Step against the gradient."""
    escape: Step
    """Step along the eigenvector of the lowest eigenvalue."""

    @property
    def kind(self) -> Kind:
        """What the point is.

        A slope: a step against the gradient lowers the loss by more than 1%, on other rows, too. A saddle: the lowest
        eigenvalue is below minus the tolerance, and the curvature along its vector is below 0 by two standard errors on
        other rows. A minimum: the lowest eigenvalue and its residual are above minus the tolerance. Unresolved: more
        Lanczos steps, or more rows, are needed.
        """
        lowest, tolerance = self.spectrum.lowest, self.spectrum.tolerance
        if self.descent.gain > SLOPE_SHARE * abs(self.loss):
            return "slope"
        if lowest.value < -tolerance:
            value, error = self.lowest_on_other_rows or (lowest.value, 0.0)
            return "saddle" if value < -2 * error else "unresolved"
        return "minimum" if lowest.value - lowest.residual >= -tolerance else "unresolved"

    def to_json(self) -> dict[str, Any]:
        """Render for JSON, without vectors."""
        other = self.lowest_on_other_rows
        return {
            "kind": self.kind,
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
            "gradient_standard_error": self.gradient_standard_error,
            "lowest_on_other_rows": None if other is None else {"value": other[0], "standard_error": other[1]},
            "descent": self.descent.to_json(),
            "escape": self.escape.to_json(),
            "spectrum": self.spectrum.to_json(),
        }


def two_samples(
    rows: Sequence[DivisibleBatch], count: int, seed: int = 1
) -> tuple[list[DivisibleBatch], list[DivisibleBatch]]:
    """Select two disjoint random samples of `count` rows each, or of half of the rows if these are fewer.

    With at most `count` rows, the first sample has all of them and the second none. Samples consist of groups of rows
    of one batch, as each batch takes a pass of its own.
    """
    if not rows:
        return [], []
    rng = np.random.default_rng(seed)
    ends = np.cumsum([len(batch.indices) for batch in rows])
    if ends[-1] > count:  # a few remaining rows would be too few to check the sample
        count = min(count, ends[-1] // 2)
    size = max(1, min(GROUP_ROWS, count // MIN_GROUPS))
    groups = [
        group
        for numbers in np.split(np.arange(ends[-1]), ends[:-1])
        for group in np.split(rng.permutation(numbers), range(size, len(numbers), size))
    ]
    order = np.concatenate([groups[number] for number in rng.permutation(len(groups))])
    samples = []
    for numbers in (order[:count], order[count : 2 * count]):
        mask = np.zeros(len(order), bool)
        mask[numbers] = True
        samples.append(select_rows(rows, mask))
    return samples[0], samples[1]


def find_spectrum(
    loss: MeanLoss,
    num_steps: int = 30,
    num_starts: int = 3,
    seed: int = 1,
    advance: Advance = ignore_progress,
    max_exact_weights: int = MAX_EXACT_WEIGHTS,
) -> Spectrum:
    """Compute the spectrum of the Hessian: exact for small models, otherwise by Lanczos runs."""

    def product(vector: Tensor) -> Tensor:
        advance(1)
        return loss.hessian_product(vector)

    if loss.num_weights <= max_exact_weights:
        spectrum = exact_spectrum(loss.hessian())
        lowest, highest = (
            pair._replace(vector=pair.vector.to(loss.weights)) for pair in (spectrum.lowest, spectrum.highest)
        )
        return replace(spectrum, lowest=lowest, highest=highest)
    return estimate_spectrum(product, loss.weights, num_steps, num_starts, seed)


def extreme_eigenvalues(
    learner: Learner, rows: Sequence[DivisibleBatch], num_steps: int = 30, seed: int = 1
) -> tuple[Eigenpair, Eigenpair]:
    """Return the lowest and the highest eigenvalue of the Hessian of the mean loss of rows, with their vectors.

    Raises:
        ValueError: as `MeanLoss`.
    """
    spectrum = find_spectrum(MeanLoss(learner, rows), num_steps, 1, seed)
    return spectrum.lowest, spectrum.highest


def escape(
    learner: Learner, rows: Sequence[DivisibleBatch], direction: Tensor, other_rows: Sequence[DivisibleBatch] = ()
) -> Step:
    """Find the step along a direction (P,), forward or backward, that lowers the mean loss of rows the most.

    The weights stay as they are; `moved` of a `MeanLoss` applies the step. With `other_rows`, the step found is
    also measured on them: a direction that was computed from a few rows may help these rows only.

    Raises:
        ValueError: as `MeanLoss`.
    """
    other = MeanLoss(learner, other_rows) if other_rows else None
    return search_line(MeanLoss(learner, rows), direction, other)


def search_line(
    loss: MeanLoss,
    direction: Tensor,
    other: MeanLoss | None = None,
    signs: Sequence[int] = (1, -1),
    advance: Advance = ignore_progress,
) -> Step:
    """Find the step along a direction (P,) that lowers the loss the most; see `escape`."""
    norm = float(loss.weights.norm()) or 1.0
    unit = direction / direction.norm().clamp_min(torch.finfo(direction.dtype).tiny)
    before = loss.losses()
    best, length = before, 0.0
    for sign in signs:
        for number in range(NUM_STEP_LENGTHS):
            signed = sign * norm * SHORTEST_STEP * 2**number
            after = loss.losses(signed * unit)
            advance(1)
            if after.mean < best.mean:
                best, length = after, signed
    step = length * unit
    decrease = _decrease(before, best)
    step_taken = Step(step, abs(length) / norm, before.mean, decrease.mean, decrease.standard_error)
    if other is None:
        return step_taken
    on_other = _decrease(other.losses(), other.losses(step))
    return replace(step_taken, other_decrease=on_other.mean, other_standard_error=on_other.standard_error)


def _decrease(before: Losses, after: Losses) -> Losses:
    """Return the decrease of the loss of each batch."""
    return Losses(before.totals - after.totals, before.counts)


def analyze_point(
    loss: MeanLoss,
    other: MeanLoss | None = None,
    num_steps: int = 30,
    num_starts: int = 3,
    seed: int = 1,
    advance: Advance = ignore_progress,
    max_exact_weights: int = MAX_EXACT_WEIGHTS,
) -> PointAnalysis:
    """Find out whether the weights are at a minimum, a saddle or a slope, and which steps lower the loss.

    `other`: the loss of other rows, on which the curvature and the steps are measured, too.
    """
    gradient, error = loss.gradient()
    spectrum = find_spectrum(loss, num_steps, num_starts, seed, advance, max_exact_weights)
    lowest = spectrum.lowest.vector
    curvature = None if other is None else other.curvature(lowest)
    return PointAnalysis(
        loss.losses().mean,
        float(gradient.norm()),
        error,
        spectrum,
        None if curvature is None else (curvature.mean, curvature.standard_error),
        search_line(loss, -gradient, other, (1,), advance),
        search_line(loss, lowest, other, (1, -1), advance),
    )
