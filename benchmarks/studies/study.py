"""Shared functions of the studies: short runs on the CPU, tables in Markdown, curves as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import seqlab
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder

Line = dict[str, Any]
"""A line of metrics.jsonl."""


@dataclass
class Study:
    """Results of a study."""

    tables: list[str] = field(default_factory=list)
    """Tables in Markdown."""
    curves: dict[str, Any] = field(default_factory=dict)
    """Curves in the format of docs/results/draw.py."""

    def write_curves(self, path: Path) -> None:
        """Write the curves as JSON."""
        path.write_text(json.dumps(self.curves) + "\n", encoding="utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Format a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def train_and_read_metrics(config: Config, folder: Path, **training: Any) -> list[Line]:
    """Train on one CPU thread unless the run is finished, and validate only at the end; return metrics.jsonl."""
    steps = training.pop("max_steps", config.training.max_steps)
    settings = {"log_every": 1, "save_every": steps, "valid_every": steps, "device": "cpu", "threads": 1} | training
    config = replace(config, training=replace(config.training, max_steps=steps, precision="fp32", **settings))
    return list(RunFolder(seqlab.train(config, folder)).read_metrics())


def smooth_losses(lines: Sequence[Line], window: int = 20) -> tuple[list[int], list[float]]:
    """Return the steps and the training loss at each, averaged over the last `window` lines."""
    found = [line for line in lines if line["kind"] == "train"]
    values = [line["loss"] for line in found]
    means = [sum(values[max(0, i - window + 1) : i + 1]) / min(window, i + 1) for i in range(len(values))]
    return [line["step"] for line in found], means


def first_below(lines: Sequence[Line], threshold: float, window: int = 20) -> tuple[int, float] | None:
    """Return the step and seconds at which the smoothed training loss is first below a threshold, or None."""
    steps, losses = smooth_losses(lines, window)
    minutes = [line["minutes"] for line in lines if line["kind"] == "train"]
    for step, loss, elapsed in zip(steps, losses, minutes, strict=True):
        if loss < threshold:
            return step, 60 * elapsed
    return None
