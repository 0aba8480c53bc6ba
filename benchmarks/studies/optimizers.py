"""Study of optimizers: steps and seconds to a fixed loss, at the rate that is best on the digits."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path

from benchmarks.studies.study import Line, Study, first_below, run_lines, smooth_losses, table
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

ADAPTIVE = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
OPTIMIZERS: dict[str, tuple[Callable[..., OptimizerConfig], tuple[float, ...]]] = {
    "SGD": (partial(SgdConfig, momentum=0.0), (0.03, 0.1, 0.3, 1.0, 3.0)),
    "momentum": (SgdConfig, (0.01, 0.03, 0.1, 0.3, 1.0)),
    "Nesterov": (partial(SgdConfig, nesterov=True), (0.01, 0.03, 0.1, 0.3, 1.0)),
    "Adagrad": (AdagradConfig, (1e-3, 3e-3, 1e-2, 3e-2, 0.1)),
    "RMSProp": (RmspropConfig, ADAPTIVE),
    "Adam": (AdamConfig, ADAPTIVE),
    "AdamW": (partial(AdamWConfig, weight_decay=0.01), ADAPTIVE),
    "RAdam": (RAdamConfig, ADAPTIVE),
    "Muon": (MuonConfig, (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
    "SAM": (SamConfig, ADAPTIVE),
    "schedule-free": (ScheduleFreeConfig, (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
}
"""Optimizers by name, each with the rates to try on the digits."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """A training problem."""

    recipe: Callable[[Path], Config]
    fields: Mapping[str, str]
    """Changed fields of the recipe's config."""
    steps: int
    goal: float
    """Target loss in nats per class or token."""


PROBLEMS = {
    "digits, MLP": Problem(RECIPES["digits_mlp"], {"model.dropout": "0", "model.input_dropout": "0"}, 150, 0.1),
    "number_words, Transformer": Problem(RECIPES["number_words"], {}, 400, 0.5),
    "g2p_fre, LSTM": Problem(RECIPES["g2p_fre"], {}, 700, 1.0),
}


def run(folder: Path, quick: bool) -> Study:
    """Tune each rate on the first problem and use it for all problems."""
    digits, *others = PROBLEMS
    names = list(OPTIMIZERS)[:2] if quick else list(OPTIMIZERS)
    found: dict[str, dict[str, list[Line]]] = {problem: {} for problem in PROBLEMS}
    rates = {}
    for name in names:
        tried = {rate: _lines(folder, digits, name, rate, quick) for rate in OPTIMIZERS[name][1]}
        rates[name] = min(tried, key=lambda rate: _order(tried[rate], PROBLEMS[digits].goal))
        found[digits][name] = tried[rates[name]]
    for problem in others:
        for name in names:
            found[problem][name] = _lines(folder, problem, name, rates[name], quick)
            logger.info("%s, %s", problem, name)
    header = ["optimizer", "rate", *(f"{problem}: {kind}" for problem in PROBLEMS for kind in ("steps", "seconds"))]
    rows = [
        [name, f"{rates[name]:g}", *(cell for problem in PROBLEMS for cell in _cells(found, problem, name))]
        for name in names
    ]
    panels = {problem: {name: _curve(lines) for name, lines in of.items()} for problem, of in found.items()}
    curves = {"title": "Training loss", "x": "step", "y": "nats", "log": ["y"], "panels": panels}
    return Study([table(header, rows)], curves)


def _lines(folder: Path, problem: str, name: str, rate: float, quick: bool) -> list[Line]:
    described = PROBLEMS[problem]
    own = folder / f"{problem.partition(',')[0]}-{name}-{rate:g}"
    config = described.recipe(own)
    optimizer = OPTIMIZERS[name][0](lr=rate)
    optim = OptimConfig(optimizer=optimizer, schedule=ConstantScheduleConfig(warmup_steps=20))
    config = replace(override(config, [("objective.label_smoothing", "0"), *described.fields.items()]), optim=optim)
    return run_lines(config, own, max_steps=5 if quick else described.steps)


def _order(lines: list[Line], goal: float) -> tuple[float, float]:
    reached = first_below(lines, goal)
    return reached[0] if reached else inf, smooth_losses(lines)[1][-1]


def _cells(found: dict[str, dict[str, list[Line]]], problem: str, name: str) -> list[str]:
    reached = first_below(found[problem][name], PROBLEMS[problem].goal)
    return ["-", "-"] if reached is None else [str(reached[0]), f"{reached[1]:.1f}"]


def _curve(lines: list[Line]) -> dict[str, list[float]]:
    steps, losses = smooth_losses(lines)
    return {"x": [float(step) for step in steps[::10]], "y": [round(loss, 4) for loss in losses[::10]]}
