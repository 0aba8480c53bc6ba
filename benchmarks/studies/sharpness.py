"""Study of sharpness: the highest eigenvalue of the Hessian after small and large batches, at equal training loss.

Keskar et al. (2017) find sharper minima after large batches. Dinh et al. (2017) multiply one layer of rectified linear
units by a factor and divide the next one by it: the function stays the same, the eigenvalues do not. The highest
eigenvalue of diag(|w|) H diag(|w|) does not change either: adaptive sharpness (Kwon et al. 2021).
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch import Tensor

from benchmarks.studies.loss_surface import (
    SurfaceTask,
    interval,
    open_learner,
    train_to_goal,
)
from benchmarks.studies.study import Study, table
from seqlab.diagnosis.curvature import MeanLoss
from seqlab.diagnosis.loss_surface import two_samples
from seqlab.diagnosis.spectrum import lanczos

SCALES = (0.25, 4.0)
"""Factors of the first layer."""
LANCZOS_STEPS = 40


@dataclass(frozen=True)
class Point:
    """Measurements of trained weights."""

    updates: float
    train_loss: float
    """Loss of the rows of the surface."""
    valid_loss: float
    highest: float
    """Highest eigenvalue of the Hessian."""
    adaptive: float
    """Highest eigenvalue of diag(|w|) H diag(|w|)."""


def run(task: SurfaceTask, folder: Path, quick: bool) -> Study:
    """Train and measure all conditions and seeds; correlate sharpness with the validation loss."""
    points = {
        condition: [measure(*train_to_goal(task, folder, condition, seed), task) for seed in task.seeds]
        for condition in task.conditions
    }
    rows = [[condition.label, *cells(found)] for condition, found in points.items()]
    rows += [_rescaled_row(task, folder, scale) for scale in SCALES]
    correlations, panels = [], {}
    for name, title in {"highest": "eigenvalue of the Hessian", "adaptive": "adaptive"}.items():
        taus = [
            kendall_tau([(getattr(found[number], name), found[number].valid_loss) for found in points.values()])
            for number in range(len(task.seeds))
        ]
        correlations.append([title, interval(taus, 2)])
        panels[f"{task.name}, {title}"] = {
            condition.label: {
                "x": [round(getattr(point, name), 3) for point in found],
                "y": [round(point.valid_loss, 4) for point in found],
                "marker": True,
            }
            for condition, found in points.items()
        }
    small = points[task.small]
    differences = [
        [condition.label, *(_difference(small, found, name) for name in ("highest", "adaptive", "valid_loss"))]
        for condition, found in points.items()
        if condition != task.small
    ]
    header = ["batch size, lr", "updates", "training loss", "validation loss", "highest eigenvalue", "adaptive"]
    tables = [
        table(header, rows),
        table([f"compared with {task.small.label}", "highest eigenvalue", "adaptive", "validation loss"], differences),
        table(["sharpness", "Kendall's tau with the validation loss"], correlations),
    ]
    curves = {"title": "Sharpness and validation loss", "x": "highest eigenvalue", "y": "validation loss"}
    return Study(tables, curves | {"log": ["x"], "panels": panels})


def measure(
    run_dir: Path, updates: int, task: SurfaceTask, change: Callable[[MeanLoss], Tensor] | None = None
) -> Point:
    """Measure the last checkpoint of a run, after the step (P,) that a function returns."""
    with open_learner(run_dir) as learner:
        rows, _ = two_samples(learner.bench.train_rows, task.rows)
        loss, valid = MeanLoss(learner, rows), MeanLoss(learner, learner.bench.valid_rows)
        step = torch.zeros_like(loss.weights) if change is None else change(loss)
        with loss.moved(step):
            highest, adaptive = highest_eigenvalues(loss, LANCZOS_STEPS)
            return Point(updates, loss.losses().mean, valid.losses().mean, highest, adaptive)


def highest_eigenvalues(loss: MeanLoss, num_steps: int) -> tuple[float, float]:
    """Compute the highest eigenvalues of H and of diag(|w|) H diag(|w|)."""
    scale = loss.weights.abs()
    start = torch.randn(len(scale), generator=torch.Generator().manual_seed(1)).to(scale)
    plain = lanczos(loss.hessian_product, start, num_steps)
    adaptive = lanczos(lambda vector: scale * loss.hessian_product(scale * vector), start, num_steps)
    return plain.highest.value, adaptive.highest.value


def rescale(factor: float) -> Callable[[MeanLoss], Tensor]:
    """Return the step to a perceptron whose first layer is multiplied by a factor, and the next divided by it."""

    def step_of(loss: MeanLoss) -> Tensor:
        first_weight, first_bias, next_weight, *rest = (parameter.detach() for parameter in loss.parameters)
        steps = [(factor - 1) * first_weight, (factor - 1) * first_bias, (1 / factor - 1) * next_weight]
        return loss.flatten([*steps, *map(torch.zeros_like, rest)])

    return step_of


def kendall_tau(pairs: Sequence[tuple[float, float]]) -> float:
    """Compute Kendall's rank correlation: agreeing minus disagreeing pairs of runs, as a share of all."""
    signs = [np.sign(a[0] - b[0]) * np.sign(a[1] - b[1]) for a, b in combinations(pairs, 2)]
    return float(np.mean(signs))


def cells(points: Sequence[Point]) -> list[str]:
    """Format the mean of each measurement over seeds with its interval."""
    updates, *others = zip(*map(astuple, points), strict=True)
    return [f"{mean(updates):,.0f}", *map(interval, others)]


def _difference(before: Sequence[Point], after: Sequence[Point], name: str) -> str:
    """Format the mean difference of a measurement between runs of the same seed."""
    return interval([getattr(b, name) - getattr(a, name) for a, b in zip(before, after, strict=True)], 2)


def _rescaled_row(task: SurfaceTask, folder: Path, scale: float) -> list[str]:
    change = rescale(scale)
    points = [measure(*train_to_goal(task, folder, task.small, seed), task, change) for seed in task.seeds]
    return [f"{task.small.label}, first layer x {scale:g}", *cells(points)]
