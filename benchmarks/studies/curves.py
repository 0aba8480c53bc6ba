"""Study of function approximation with hard sigmoids and ReLUs: error by number of parameters and depth."""

from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np

from benchmarks.studies.study import Line, Study, table, train_and_read_metrics
from seqlab.models import (
    EncoderPredictorConfig,
    MlpEncoderConfig,
)
from seqlab.objectives import SquaredErrorConfig
from seqlab.optim import AdamConfig, CosineScheduleConfig, OptimConfig
from seqlab.runs.config import Config
from seqlab.tasks.prediction.config import PredictionConfig

POINTS = 1024
STEPS = 3000
PARAMETERS = (13, 25, 49, 97, 193, 385)
"""Parameters of one hidden layer of 4, 8, 16 ... units: 3 per unit and one bias."""
DEPTHS = (1, 2, 3, 5)
SEEDS = (1, 2, 3)
ROUNDING = 1e-6
"""Errors below this are 0 up to rounding and are not plotted."""
ACTIVATIONS = ("hard_sigmoid", "relu")


def smooth(x: np.ndarray) -> np.ndarray:
    """Compute a decaying wave."""
    return np.sin(2 * np.pi * x) * np.exp(-x)


def sawtooth(x: np.ndarray) -> np.ndarray:
    """Compute a sawtooth with four teeth: a composition of three folds, each a small layer (Telgarsky 2016)."""
    for _ in range(3):
        x = 1 - np.abs(1 - 2 * (x % 1))
    return x


TARGETS = {"wave": (smooth, (0.0, 3.0)), "sawtooth": (sawtooth, (0.0, 1.0))}


def width_of(parameters: int, depth: int) -> int:
    """Return the width at which a network with `depth` hidden layers has about this number of parameters."""
    if depth == 1:
        return (parameters - 1) // 3
    a, b = depth - 1, depth + 2  # a w^2 + b w + 1
    return max(1, round((-b + sqrt(b * b + 4 * a * (parameters - 1))) / (2 * a)))


def construct_and_measure(target: str, activation: str, width: int) -> float:
    """Construct one hidden layer with equidistant kinks and a least-squares output layer; return its RMSE.

    Each hard sigmoid rises from one kink to the next; each ReLU starts at one.
    """
    function, (low, high) = TARGETS[target]
    x = np.linspace(low, high, POINTS)[:, None]
    step = (high - low) / width
    starts = low + step * np.arange(width)
    hidden = np.clip((x - starts) / step, 0, 1 if activation == "hard_sigmoid" else None)
    layer = np.concatenate([hidden, np.ones_like(x)], axis=1)
    y = function(x[:, 0])
    weights = np.linalg.lstsq(layer, y, rcond=None)[0]
    return float(np.sqrt(np.mean((layer @ weights - y) ** 2)))


def run(folder: Path, quick: bool) -> Study:
    """Fit each curve with each activation, depth and size; report the lowest error of three seeds."""
    counts, seeds = (PARAMETERS[:1], SEEDS[:1]) if quick else (PARAMETERS, SEEDS)
    panels: dict[str, dict[str, dict[str, list[float]]]] = {}
    for target in TARGETS:
        path = _write_points(folder, target)
        panels[target] = {}
        for activation in ACTIVATIONS:
            errors = [construct_and_measure(target, activation, width_of(count, 1)) for count in counts]
            panels[target][f"{activation}, constructed"] = {"x": list(map(float, counts)), "y": errors}
        for activation, depth in (*((each, 1) for each in ACTIVATIONS), *(("relu", depth) for depth in DEPTHS[1:])):
            widths = [width_of(count, depth) for count in counts]
            errors = [
                min(_error(path, folder, target, activation, [width] * depth, seed, quick) for seed in seeds)
                for width in widths
            ]
            label = f"{activation}, {depth} layer{'s' if depth > 1 else ''}"
            panels[target][label] = {
                "x": [float((depth - 1) * w**2 + (depth + 2) * w + 1) for w in widths],
                "y": errors,
            }
    rows = [
        [target, label, *(f"{y:.3g}" for y in line["y"])]
        for target, lines in panels.items()
        for label, line in lines.items()
    ]
    header = ["curve", "network", *(f"{count} parameters" for count in PARAMETERS)]
    for line in (line for lines in panels.values() for line in lines.values()):
        plotted = [number for number, y in enumerate(line["y"]) if y > ROUNDING]
        line |= {axis: [line[axis][number] for number in plotted] for axis in ("x", "y")}
    curves = {"title": "Error of fitted curves", "x": "parameters", "y": "error (RMSE)", "log": ["x", "y"]}
    return Study([table(header, rows)], curves | {"panels": panels})


def _write_points(folder: Path, target: str) -> str:
    function, (low, high) = TARGETS[target]
    x = np.linspace(low, high, POINTS)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target}.csv"
    path.write_text(
        "x,y\n" + "".join(f"{a:.6f},{b:.6f}\n" for a, b in zip(x, function(x), strict=True)), encoding="utf-8"
    )
    return str(path)


def _error(path: str, folder: Path, target: str, activation: str, sizes: list[int], seed: int, quick: bool) -> float:
    """Return the training error on all points, which measures expressiveness and optimization."""
    config = Config(
        seed=seed,
        data=PredictionConfig(train=[path], valid=path, target=["y"], batch_rows=256),
        model=EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=tuple(sizes), activation=activation)),  # type: ignore[arg-type]
        objective=SquaredErrorConfig(),
        optim=OptimConfig(optimizer=AdamConfig(lr=1e-2), schedule=CosineScheduleConfig(warmup_steps=50)),
    )
    config = replace(config, training=replace(config.training, valid_metric="rmse"))
    run_dir = folder / f"{target}-{activation}-{len(sizes)}x{sizes[0]}-{seed}"
    lines: list[Line] = train_and_read_metrics(config, run_dir, max_steps=20 if quick else STEPS, log_every=100)
    return min(float(line["rmse"]) for line in lines if line["kind"] == "valid")
