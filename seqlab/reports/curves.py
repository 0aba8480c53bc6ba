"""Training curves of run folders (loss, validation metric, learning rate, ...), and the loss of a range test."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seqlab.reports.figures import save_figure, save_panels
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)
WIDTH_INCHES, PANEL_INCHES = 7.0, 2.0
XAxis = Literal["step", "minutes", "epoch"]
X_LABELS: dict[XAxis, str] = {"step": "step", "minutes": "minutes of training", "epoch": "epoch"}
VALIDATION_LOSSES = ("nll_per_tgt_token", "nll_per_token", "nll_per_label", "nll_per_masked_token", "loss", "cost")
"""Names of the validation loss, which differ between tasks."""
SPEEDS = ("tgt_tokens_per_second", "units_per_second")


@dataclass(frozen=True)
class Curve:
    """A series of measurements."""

    x: list[float]
    y: list[float]


def read_curves(run_dir: str | Path, x: XAxis = "step") -> dict[str, Curve]:
    """Read the curves of a run from its metrics.jsonl: name of the panel -> curve, without empty curves.

    Args:
        run_dir: the run folder.
        x: horizontal axis: number of updates, minutes of training, or passes over the data.

    Raises:
        FileNotFoundError, ValueError: there is no run, its metrics are damaged, or it has no measurements yet.
    """
    folder = RunFolder(run_dir)
    folder.refuse_missing()
    config = read_config(folder)
    metric = config.training.valid_metric
    lines = [line for line in folder.read_metrics() if line["kind"] in ("train", "valid")]
    if not lines:
        raise ValueError(f"{folder.metrics_file} has no measurements yet: train for `training.log_every` steps first.")
    epochs = {line["step"]: line["epoch"] for line in lines if "epoch" in line}
    per_step = _epochs_per_step(epochs)

    def curve(kind: str, names: Sequence[str]) -> Curve:
        points: list[tuple[float, float]] = []
        for line in (line for line in lines if line["kind"] == kind):
            values = [line[name] for name in names if name in line]
            position = line["step"] * per_step if x == "epoch" else line[x]
            points += [(position, value) for value in values[:1]]
        return Curve([position for position, _ in points], [value for _, value in points])

    curves = {
        "training loss": curve("train", ["loss"]),
        **{f"training {name}": curve("train", [name]) for name in config.objective.shown_logs},
        f"validation {metric}": curve("valid", [metric or "nll", *VALIDATION_LOSSES]),
        "learning rate": curve("train", ["lr"]),
        "gradient norm": curve("train", ["grad_norm"]),
        "tokens/s": curve("train", SPEEDS[:1]),
        "units/s": curve("train", SPEEDS[1:]),
    }
    return {name: own_curve for name, own_curve in curves.items() if own_curve.x}


def _epochs_per_step(epochs: dict[int, float]) -> float:
    return max((epoch / step for step, epoch in epochs.items() if step), default=0.0)


def draw_curves(panels: Sequence[Axes], curves: dict[str, dict[str, Curve]], x: XAxis = "step") -> None:
    """Draw curves: one panel for each name, with one line for each run.

    Args:
        panels: one for each name in `curves`.
        curves: name of the panel -> label of the run -> curve.
        x: the horizontal axis, for its label.
    """
    labels = list(dict.fromkeys(label for lines in curves.values() for label in lines))
    for axes, (name, lines) in zip(panels, curves.items(), strict=True):
        for label, curve in lines.items():
            marker: dict[str, Any] = {"marker": "."} if len(curve.x) < 30 else {}
            axes.plot(curve.x, curve.y, label=label, color=f"C{labels.index(label) % 10}", linewidth=1.2, **marker)
        axes.set(ylabel=name)
        axes.grid(alpha=0.3)
    shown: set[str] = set()
    for axes, lines in zip(panels, curves.values(), strict=True):
        if not lines.keys() <= shown:  # a run may lack the first panels
            axes.legend(fontsize="small")
        shown |= lines.keys()
    panels[-1].set(xlabel=X_LABELS[x])


def save_curves(path: str | Path, run_dirs: Sequence[str | Path], x: XAxis = "step") -> None:
    """Save the curves of one or several runs as PNG or SVG, by the extension of the path.

    Raises:
        FileNotFoundError, ValueError: as `read_curves` and `save_panels`.
    """
    curves: dict[str, dict[str, Curve]] = {}
    for label, run_dir in zip(_labels(run_dirs), run_dirs, strict=True):
        of_run = read_curves(run_dir, x)
        if "training loss" not in of_run:
            logger.warning("%s has no training curve, only validations: it has not logged a step", run_dir)
        for name, curve in of_run.items():
            curves.setdefault(name, {})[label] = curve
    inches = (WIDTH_INCHES, PANEL_INCHES * len(curves) + 0.5)
    save_panels(path, inches, len(curves), lambda panels: draw_curves(panels, curves, x))


def _labels(run_dirs: Sequence[str | Path]) -> list[str]:
    """Name the runs by their folders, or by their paths if two folders have one name."""
    names = [Path(run_dir).resolve().name for run_dir in run_dirs]
    return names if len(set(names)) == len(names) else [str(run_dir) for run_dir in run_dirs]


def save_range_test(
    path: str | Path, rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], lowest: float
) -> None:
    """Save the figure as PNG or SVG, by the extension of its path.

    Raises:
        ValueError: the path has another extension, or matplotlib is not installed.
    """

    def draw(axes: Axes) -> None:
        axes.plot(rates, losses, linewidth=0.6, alpha=0.5, label="loss of a step")
        axes.plot(rates, smoothed, label="smoothed")
        axes.axvline(lowest, linestyle=":", color="grey", label=f"lowest at {lowest:.1e}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.set_ylim(min(smoothed) * 0.9, max(smoothed) * 1.1)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")

    save_figure(path, (6.4, 4.0), draw)
