"""Study of batch sizes: time, updates to a goal loss and error, at a fixed and at a square-root-scaled lr."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.studies.study import Line, Study, first_below, table, train_and_read_metrics
from seqlab.objectives import CrossEntropyConfig, SoftmaxConfig
from seqlab.optim import AdamConfig, ConstantScheduleConfig, OptimConfig
from seqlab.recipes import RECIPES
from seqlab.runs.config import Config

DIGITS_SIZES = (8, 32, 128, 512, 2048, 4096)
"""Images per step; the training set has 1,617 images, so that the last two sizes are both the full set."""
WORDS_SIZES = (128, 512, 2048, 8192, 32_768)
"""Target tokens per step."""
DIGITS_EPOCHS, WORDS_EPOCHS = 30, 2
REFERENCE_SIZE = {"digits": 64, "number_words": 1024}
"""Batch size at which the fixed and the scaled lr are equal."""
LR = {"digits": 1e-3, "number_words": 2e-3}
GOAL_LOSS = {"digits": 0.25, "number_words": 1.0}
"""Training loss in nats, to which updates are counted."""
SMOOTHING_WINDOW = {"digits": 1617, "number_words": 16_384}
"""Images or tokens over which the loss is averaged."""
MAX_LR = 2e-2


def run(folder: Path, quick: bool) -> Study:
    """Train for the same number of epochs with each batch size."""
    tables, panels = [], {}
    for task, sizes in (("digits", DIGITS_SIZES), ("number_words", WORDS_SIZES)):
        rows, curve_of = [], {}
        for scaled in (False, True):
            for size in sizes[:2] if quick else sizes:
                lines, epochs, lr = _train(folder, task, size, scaled, quick)
                rows.append(_row(task, size, scaled, lr, lines, epochs))
                if not scaled:
                    curve_of[str(size)] = _smooth_curve(lines)
        tables.append(f"{task}:\n\n" + table(HEADER, rows))
        panels[task] = curve_of
    curves = {"title": "Training loss by batch size, fixed learning rate", "x": "epoch", "y": "nats", "log": ["y"]}
    return Study(tables, curves | {"panels": panels})


HEADER = [
    "batch size",
    "lr",
    "scaled",
    "seconds per epoch",
    "updates per epoch",
    "updates to the goal",
    "validation error in %",
]


def _train(folder: Path, task: str, size: int, scaled: bool, quick: bool) -> tuple[list[Line], float, float]:
    """Train; return the lines of metrics.jsonl, the number of epochs and the lr."""
    factor = (size / REFERENCE_SIZE[task]) ** 0.5 if scaled else 1.0
    lr = min(MAX_LR, LR[task] * factor)
    run_dir = folder / f"{task}-{size}-{'scaled' if scaled else 'fixed'}"
    config = _config(task, run_dir, size)
    config = replace(
        config, optim=OptimConfig(optimizer=AdamConfig(lr=lr), schedule=ConstantScheduleConfig(warmup_steps=5))
    )
    steps = 4 if quick else _steps(task, size)
    lines = train_and_read_metrics(config, run_dir, max_steps=steps)
    epochs = [line["epoch"] for line in lines if line["kind"] == "train"][-1]
    return lines, epochs, lr


def _config(task: str, run_dir: Path, size: int) -> Config:
    if task == "digits":
        config = RECIPES["digits_mlp"](run_dir)
        data: Any = replace(config.data, batch_rows=size)  # type: ignore[call-arg]
        return replace(config, data=data, objective=SoftmaxConfig())
    config = RECIPES["number_words"](run_dir)
    data = replace(config.data, batch_tokens=size, micro_batch_tokens=min(size, 1600))  # type: ignore[call-arg]
    return replace(config, data=data, objective=CrossEntropyConfig(label_smoothing=0.0))


def _steps(task: str, size: int) -> int:
    """Return the number of steps of all epochs."""
    total = DIGITS_EPOCHS * 1617 if task == "digits" else WORDS_EPOCHS * WORDS_TOKENS
    return max(20, round(total / min(size, 1617 if task == "digits" else WORDS_TOKENS)))


WORDS_TOKENS = 150_000
"""Approximate target tokens of an epoch of number_words."""


def _row(task: str, size: int, scaled: bool, lr: float, lines: list[Line], epochs: float) -> list[str]:
    trained = [line for line in lines if line["kind"] == "train"]
    valid = [line for line in lines if line["kind"] == "valid"][-1]
    reached = first_below(lines, GOAL_LOSS[task], window=max(1, SMOOTHING_WINDOW[task] // size))
    error = 100 - valid["accuracy" if task == "digits" else "exact_match"]
    seconds = 60 * trained[-1]["minutes"] / epochs
    cells = [f"{size:,}", f"{lr:.2g}", "yes" if scaled else "no", f"{seconds:.2f}", f"{len(trained) / epochs:.0f}"]
    return [*cells, str(reached[0]) if reached else "-", f"{error:.2f}"]


def _smooth_curve(lines: list[Line]) -> dict[str, list[float]]:
    trained = [line for line in lines if line["kind"] == "train"]
    every = max(1, len(trained) // 60)
    means = [
        sum(line["loss"] for line in trained[i : i + every]) / len(trained[i : i + every])
        for i in range(0, len(trained), every)
    ]
    return {"x": [round(line["epoch"], 2) for line in trained[::every]], "y": [round(value, 4) for value in means]}
