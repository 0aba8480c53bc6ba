"""Study of the loss surface: sharpness after small and large batches, and the minimum ratio along a run.

Sharpness is the highest eigenvalue of the Hessian of the training loss (Keskar et al. 2017). The last rows have the
same function as a trained network, but other sharpness: one layer of rectified linear units is multiplied by a factor,
the next one divided by it (Dinh et al. 2017).
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from benchmarks.studies.study import Study, table, train_and_read_metrics
from seqlab.diagnosis.curvature import MeanLoss
from seqlab.diagnosis.loss_surface import PointAnalysis, analyze_point, two_samples
from seqlab.diagnosis.workbench import open_run
from seqlab.objectives import SoftmaxConfig
from seqlab.optim import ConstantScheduleConfig, OptimConfig, SgdConfig
from seqlab.recipes import RECIPES
from seqlab.runs.config import Config

BATCH_SIZES = (16, 128, 1617)
"""Images per step; the training set has 1,617."""
SEEDS = (1, 2, 3)
EPOCHS, LR = 60, 0.1
SCALES = (0.5, 2.0, 4.0)
"""Factors of the first layer."""
CHECKPOINTS = (1, 10, 30, 100, 300, 1000, 3000)
"""Steps after which the spectrum is computed."""
HIDDEN_SIZE = 16
"""Hidden units: few enough weights for all eigenvalues."""
ROWS = 512


def run(folder: Path, quick: bool) -> Study:
    """Run both parts."""
    sharpness = sharpness_by_batch_size(folder, quick)
    rows, curves = ratio_along_a_run(folder, quick)
    header = ["step", "training loss", "gradient norm", "minimum ratio", "lowest eigenvalue", "highest", "kind"]
    return Study([sharpness, table(header, rows)], curves)


def config_of(run_dir: Path, batch_rows: int, seed: int) -> Config:
    """Return a small perceptron for the digits, trained by SGD at a constant rate, without regularization."""
    config = RECIPES["digits_mlp"](run_dir)
    data: Any = replace(config.data, batch_rows=batch_rows)  # type: ignore[call-arg]
    model: Any = replace(config.model, hidden_sizes=(HIDDEN_SIZE,), dropout=0.0)  # type: ignore[type-var]
    optim = OptimConfig(optimizer=SgdConfig(lr=LR), schedule=ConstantScheduleConfig(warmup_steps=5))
    return replace(config, data=data, model=model, objective=SoftmaxConfig(), optim=optim, seed=seed)


def analyze(run_dir: Path, change: Callable[[dict[str, Tensor]], None] = lambda weights: None) -> PointAnalysis:
    """Analyze the last checkpoint of a run, after a change of its weights in place."""
    with TemporaryDirectory() as scratch:
        bench = open_run(run_dir, Path(scratch))
        weights = {name: tensor.clone() for name, tensor in bench.weights.items()}
        change(weights)
        learner = bench.learner(weights=weights)
        rows, other_rows = two_samples(bench.train_rows, ROWS)
        return analyze_point(MeanLoss(learner, rows), MeanLoss(learner, other_rows))


def rescale(factor: float) -> Callable[[dict[str, Tensor]], None]:
    """Return a function that multiplies the first layer by a factor, and divides the weights of the next by it."""

    def change(weights: dict[str, Tensor]) -> None:
        first_weight, first_bias, next_weight = list(weights.values())[:3]
        first_weight *= factor
        first_bias *= factor
        next_weight /= factor

    return change


def sharpness_by_batch_size(folder: Path, quick: bool) -> str:
    """Train with each batch size and seed for the same number of epochs; return a table."""
    rows = []
    sizes, seeds = (BATCH_SIZES[:1], SEEDS[:1]) if quick else (BATCH_SIZES, SEEDS)
    for size in sizes:
        for seed in seeds:
            run_dir = folder / f"batch-{size}-{seed}"
            steps = 4 if quick else max(1, EPOCHS * 1617 // size)
            lines = train_and_read_metrics(config_of(run_dir, size, seed), run_dir, max_steps=steps)
            error = 100 - [line for line in lines if line["kind"] == "valid"][-1]["accuracy"]
            rows.append([f"{size:,}", seed, "-", *_cells(analyze(run_dir)), f"{error:.2f}"])
    run_dir = folder / f"batch-{sizes[0]}-{seeds[0]}"
    for scale in SCALES[:1] if quick else SCALES:
        rows.append([f"{sizes[0]:,}", seeds[0], f"{scale:g}", *_cells(analyze(run_dir, rescale(scale))), "as above"])
    header = ["batch size", "seed", "first layer times", "training loss", "highest eigenvalue", "minimum ratio"]
    return table([*header, "validation error in %"], rows)


def _cells(point: PointAnalysis) -> list[str]:
    spectrum = point.spectrum
    return [f"{point.loss:.4f}", f"{spectrum.highest.value:.3g}", f"{100 * spectrum.minimum_ratio:.1f}%"]


def ratio_along_a_run(folder: Path, quick: bool) -> tuple[list[list[str]], dict[str, Any]]:
    """Compute the spectrum at several steps of one run; return table rows, and curves over the training loss."""
    run_dir = folder / "along"
    points = {}
    for steps in CHECKPOINTS[:2] if quick else CHECKPOINTS:
        train_and_read_metrics(config_of(run_dir, 128, 1), run_dir, max_steps=steps)
        points[steps] = analyze(run_dir)
    rows = [
        [
            f"{steps:,}",
            f"{point.loss:.4f}",
            f"{point.gradient_norm:.2g}",
            f"{100 * point.spectrum.minimum_ratio:.1f}%",
            f"{point.spectrum.lowest.value:.3g}",
            f"{point.spectrum.highest.value:.3g}",
            point.kind,
        ]
        for steps, point in points.items()
    ]
    curve = {
        "x": [round(point.loss, 4) for point in points.values()],
        "y": [round(point.spectrum.minimum_ratio, 4) for point in points.values()],
    }
    panels = {"digits, perceptron": {"one run": curve}}
    return rows, {"title": "Minimum ratio along a run", "x": "training loss", "y": "minimum ratio", "panels": panels}
