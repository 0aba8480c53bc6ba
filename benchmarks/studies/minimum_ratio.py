"""Study of the minimum ratio: eigenvalues of the Hessian along a training run with small batches."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.studies.loss_surface import SurfaceTask, interval, open_learner
from benchmarks.studies.study import Study, table, train_and_read_metrics
from seqlab.diagnosis.curvature import MeanLoss
from seqlab.diagnosis.loss_surface import PointAnalysis, analyze_point, two_samples

SEEDS = (1, 2, 3)
CHECKPOINTS = (1, 10, 100, 1000, 3000)
"""Steps after which the spectrum is computed."""
ROWS_PER_PASS = 64
"""Rows of a group: eight groups of the digits give standard errors."""


def run(task: SurfaceTask, folder: Path, quick: bool) -> Study:
    """Analyze each checkpoint of each seed."""
    steps = CHECKPOINTS[:2] if quick else CHECKPOINTS
    points = {seed: points_along_a_run(task, folder, seed, steps) for seed in (SEEDS[:1] if quick else SEEDS)}
    rows = [[f"{step:,}", *_cells([found[step] for found in points.values()])] for step in steps]
    spectrum = ["minimum ratio", "share above the tolerance", "lowest eigenvalue", "highest eigenvalue"]
    header = ["step", "training loss", "gradient norm", *spectrum, "kinds of points"]
    panels = {task.name: {f"seed {seed}": _curve(list(found.values())) for seed, found in points.items()}}
    curves: dict[str, Any] = {"title": "Minimum ratio along a run", "x": "training loss", "y": "minimum ratio"}
    return Study([table(header, rows)], curves | {"panels": panels})


def points_along_a_run(task: SurfaceTask, folder: Path, seed: int, steps: Sequence[int]) -> dict[int, PointAnalysis]:
    """Train from checkpoint to checkpoint; analyze each."""
    run_dir = folder / f"seed-{seed}"
    points = {}
    for step in steps:
        train_and_read_metrics(task.config_of(run_dir, task.small, seed), run_dir, max_steps=step)
        with open_learner(run_dir) as learner:
            rows, other_rows = two_samples(learner.bench.train_rows, task.rows)
            losses = [MeanLoss(learner, each, ROWS_PER_PASS) for each in (rows, other_rows)]
            points[step] = analyze_point(losses[0], losses[1])
    return points


def _cells(points: list[PointAnalysis]) -> list[str]:
    spectra = [point.spectrum for point in points]
    kinds = Counter(point.kind for point in points)
    return [
        interval([point.loss for point in points]),
        interval([point.gradient_norm for point in points], 2),
        interval([spectrum.minimum_ratio for spectrum in spectra]),
        interval([spectrum.positive for spectrum in spectra]),
        interval([spectrum.lowest.value for spectrum in spectra]),
        interval([spectrum.highest.value for spectrum in spectra]),
        ", ".join(f"{count} {kind}" for kind, count in kinds.items()),
    ]


def _curve(points: list[PointAnalysis]) -> dict[str, list[float]]:
    return {
        "x": [round(point.loss, 4) for point in points],
        "y": [round(point.spectrum.minimum_ratio, 4) for point in points],
    }
