"""Study of regularization: error of each method with few training examples."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.studies.study import Study, table, train_and_read_metrics
from seqlab.recipes import RECIPES
from seqlab.runs.overrides import override

logger = logging.getLogger(__name__)
SEEDS = range(1, 7)
DIGITS_BASE = {
    "data.valid_fold": "null",
    "data.valid_fraction": "0.9",  # trains on a tenth: 180 images
    "model.dropout": "0",
    "model.input_dropout": "0",
    "objective.label_smoothing": "0",
    "optim.optimizer.weight_decay": "0",
}
DIABETES_BASE = {
    "data.valid_fold": "null",
    "data.valid_fraction": "0.8",  # trains on 88 patients
    "model.family": "mlp",
    "model.hidden_sizes": "[64, 64]",
    "model.dropout": "0",
    "optim.optimizer.lr": "2e-3",
    "optim.optimizer.weight_decay": "0",
}
Method = Mapping[str, str]
METHODS: dict[str, dict[str, Method]] = {
    "digits": {
        "none": {},
        "L2 (decoupled decay)": {"optim.optimizer.weight_decay": "1"},
        "L1": {"optim.l1_penalty": "1e-4"},
        "dropout": {"model.dropout": "0.5", "model.input_dropout": "0.2"},
        "label smoothing": {"objective.label_smoothing": "0.1"},
        "mixup": {"data.augment_mixup": "0.4"},
        "noise": {"data.augment_noise": "0.3"},
        "shifts": {"data.augment_shift": "1"},
        "rotations": {"data.augment_rotation": "10"},
        "shifts, rotations, noise, dropout": {
            "data.augment_shift": "1",
            "data.augment_rotation": "10",
            "data.augment_noise": "0.1",
            "model.dropout": "0.5",
        },
        "early stopping": {"training.valid_every": "20", "training.save_every": "20", "training.patience": "5"},
    },
    "diabetes": {
        "none": {},
        "L2 (decoupled decay)": {"optim.optimizer.weight_decay": "1"},
        "L1": {"optim.l1_penalty": "3e-3"},
        "dropout": {"model.dropout": "0.5"},
        "noise": {"data.augment_noise": "0.5"},
        "mixup": {"data.augment_mixup": "1"},
        "early stopping": {"training.valid_every": "10", "training.save_every": "10", "training.patience": "5"},
    },
}
"""Config fields by method and task. Strengths are round numbers that were not tuned."""
TASKS = (("digits", "digits_mlp", DIGITS_BASE, "accuracy"), ("diabetes", "diabetes", DIABETES_BASE, "rmse"))


def run(folder: Path, quick: bool) -> Study:
    """Train with each method on six different training sets."""
    tables = []
    for task, recipe, base, metric in TASKS:
        rows: list[Sequence[Any]] = []
        baseline: list[float] = []
        for name, method in METHODS[task].items():
            errors = [
                _error(folder / f"{task}-{name}-{seed}", recipe, {**base, **method}, metric, seed, quick)
                for seed in SEEDS[: 2 if quick else 6]
            ]
            baseline = baseline or errors
            differences = [error - other for error, other in zip(errors, baseline, strict=True)]
            standard_error = stdev(differences) / len(differences) ** 0.5
            rows.append([name, f"{mean(errors):.2f}", f"{mean(differences):+.2f} ± {standard_error:.2f}"])
            logger.info("%s, %s: %.2f", task, name, mean(errors))
        unit = "error in %" if metric == "accuracy" else "root mean squared error"
        tables.append(f"{task}:\n\n" + table(["method", unit, "difference from none"], rows))
    return Study(tables, {})


def _error(run_dir: Path, recipe: str, fields: Mapping[str, str], metric: str, seed: int, quick: bool) -> float:
    config = override(RECIPES[recipe](run_dir), [*fields.items(), ("seed", str(seed)), ("data.fold_seed", str(seed))])
    stops_early = "training.patience" in fields
    intervals = (
        {"valid_every": config.training.valid_every, "save_every": config.training.save_every} if stops_early else {}
    )
    lines = train_and_read_metrics(config, run_dir, max_steps=40 if quick else 400, log_every=20, **intervals)
    validations = [line for line in lines if line["kind"] == "valid"]
    best = min(validations, key=lambda line: line["loss"]) if stops_early else validations[-1]
    return 100 - float(best["accuracy"]) if metric == "accuracy" else float(best[metric])
