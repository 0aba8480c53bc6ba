"""Study of optimizers: steps and seconds to a goal loss, at the lr that is best on the digits."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path

from benchmarks.studies.study import Line, Study, first_below, smooth_losses, table, train_and_read_metrics
from seqlab.optim import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    ConstantScheduleConfig,
    MuonConfig,
    OptimConfig,
    OptimizerConfig,
    RAdamConfig,
    RmspropConfig,
    SamConfig,
    ScheduleFreeConfig,
    SgdConfig,
)
from seqlab.recipes import RECIPES
from seqlab.runs.config import Config
from seqlab.runs.overrides import override

ADAPTIVE_LRS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
OPTIMIZERS: dict[str, tuple[Callable[..., OptimizerConfig], tuple[float, ...]]] = {
    "SGD": (partial(SgdConfig, momentum=0.0), (0.03, 0.1, 0.3, 1.0, 3.0)),
    "momentum": (SgdConfig, (0.01, 0.03, 0.1, 0.3, 1.0)),
    "Nesterov": (partial(SgdConfig, nesterov=True), (0.01, 0.03, 0.1, 0.3, 1.0)),
    "Adagrad": (AdagradConfig, (1e-3, 3e-3, 1e-2, 3e-2, 0.1)),
    "RMSProp": (RmspropConfig, ADAPTIVE_LRS),
    "Adam": (AdamConfig, ADAPTIVE_LRS),
    "AdamW": (partial(AdamWConfig, weight_decay=0.01), ADAPTIVE_LRS),
    "RAdam": (RAdamConfig, ADAPTIVE_LRS),
    "Muon": (MuonConfig, (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
    "SAM": (SamConfig, ADAPTIVE_LRS),
    "schedule-free": (ScheduleFreeConfig, (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
}
"""Optimizers by name, each with the lrs to try on the digits."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """A training problem."""

    recipe: Callable[[Path], Config]
    fields: Mapping[str, str]
    """Changed fields of the recipe's config."""
    steps: int
    goal: float
    """Training loss in nats per class or token, to which steps and seconds are measured."""


PROBLEMS = {
    "digits, MLP": Problem(RECIPES["digits_mlp"], {"model.dropout": "0", "model.input_dropout": "0"}, 150, 0.1),
    "number_words, Transformer": Problem(RECIPES["number_words"], {}, 400, 0.5),
    "g2p_fre, LSTM": Problem(RECIPES["g2p_fre"], {}, 700, 1.0),
}


def run(folder: Path, quick: bool) -> Study:
    """Tune the lr of each optimizer on the first problem and use it for all problems."""
    digits, *others = PROBLEMS
    names = list(OPTIMIZERS)[:2] if quick else list(OPTIMIZERS)
    found: dict[str, dict[str, list[Line]]] = {problem: {} for problem in PROBLEMS}
    lrs = {}
    for name in names:
        lines_by_lr = {lr: _train(folder, digits, name, lr, quick) for lr in OPTIMIZERS[name][1]}
        lrs[name] = min(lines_by_lr, key=lambda lr: _sort_key(lines_by_lr[lr], PROBLEMS[digits].goal))
        found[digits][name] = lines_by_lr[lrs[name]]
    for problem in others:
        for name in names:
            found[problem][name] = _train(folder, problem, name, lrs[name], quick)
            logger.info("%s, %s", problem, name)
    header = ["optimizer", "lr", *(f"{problem}: {kind}" for problem in PROBLEMS for kind in ("steps", "seconds"))]
    rows = [
        [name, f"{lrs[name]:g}", *(cell for problem in PROBLEMS for cell in _cells(found, problem, name))]
        for name in names
    ]
    panels = {problem: {name: _curve(lines) for name, lines in runs.items()} for problem, runs in found.items()}
    curves = {"title": "Training loss", "x": "step", "y": "nats", "log": ["y"], "panels": panels}
    return Study([table(header, rows)], curves)


def _train(folder: Path, problem: str, name: str, lr: float, quick: bool) -> list[Line]:
    settings = PROBLEMS[problem]
    run_dir = folder / f"{problem.partition(',')[0]}-{name}-{lr:g}"
    config = settings.recipe(run_dir)
    optimizer = OPTIMIZERS[name][0](lr=lr)
    optim = OptimConfig(optimizer=optimizer, schedule=ConstantScheduleConfig(warmup_steps=20))
    config = replace(override(config, [("objective.label_smoothing", "0"), *settings.fields.items()]), optim=optim)
    return train_and_read_metrics(config, run_dir, max_steps=5 if quick else settings.steps)


def _sort_key(lines: list[Line], goal: float) -> tuple[float, float]:
    reached = first_below(lines, goal)
    return reached[0] if reached else inf, smooth_losses(lines)[1][-1]


def _cells(found: dict[str, dict[str, list[Line]]], problem: str, name: str) -> list[str]:
    reached = first_below(found[problem][name], PROBLEMS[problem].goal)
    return ["-", "-"] if reached is None else [str(reached[0]), f"{reached[1]:.1f}"]


def _curve(lines: list[Line]) -> dict[str, list[float]]:
    steps, losses = smooth_losses(lines)
    return {"x": [float(step) for step in steps[::10]], "y": [round(loss, 4) for loss in losses[::10]]}
