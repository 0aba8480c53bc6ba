"""Series of all numbers in metrics.jsonl, for the curves of a page, over steps and over minutes."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seqlab.reports.curves import VALIDATION_LOSSES
from seqlab.runs.folder import RunFolder

MAX_POINTS = 1_000
"""Maximum number of points of a series on a page."""
LOSS = "loss"
"""Panel of the training and validation losses, which share an axis."""
TRAINING_PANELS = {
    "lr": "learning rate",
    "grad_norm": "gradient norm before clipping",
    "tgt_tokens_per_second": "target tokens per second",
    "units_per_second": "units per second",
}
"""Fields of `train` lines with panels of their own, in the order of the page, and the titles of these panels."""
OTHER_FIELDS = ("kind", "step", "minutes", "epoch", "is_best", "src_padding", "tgt_padding")


@dataclass(frozen=True)
class Series:
    """A series of measurements: one line in a panel."""

    panel: str
    name: str
    step: list[int]
    minutes: list[float]
    y: list[float | None]
    """None where the value was not finite."""

    def as_dict(self) -> dict[str, Any]:
        """Return a dict for JSON."""
        return asdict(self)


def read_series(folder: RunFolder, shown_logs: Sequence[str]) -> list[Series]:
    """Read the series of a run; empty if it has no measurements yet.

    Args:
        folder: the run folder.
        shown_logs: other sums of the objective than its loss that are logged to be seen.

    Raises:
        ValueError: metrics.jsonl is damaged.
    """
    lines = [line for line in folder.read_metrics() if line["kind"] in ("train", "valid")]
    train, valid = ([line for line in lines if line["kind"] == kind] for kind in ("train", "valid"))
    losses = [name for name in VALIDATION_LOSSES if any(name in line for line in valid)]
    history = [_series(train, "loss", LOSS, "training")]
    if any(line.get("nll") != line.get("loss") for line in train):  # for example without label smoothing
        history.append(_series(train, "nll", LOSS, "training nll"))
    history += [_series(valid, name, LOSS, "validation") for name in losses[:1]]
    scores = dict.fromkeys(name for line in valid for name in line if "." not in name and name not in OTHER_FIELDS)
    history += [_series(valid, name, f"validation {name}", "validation") for name in scores if name not in losses]
    logs = {name: f"training {name}" for name in shown_logs}
    history += [_series(train, name, title, "training") for name, title in (TRAINING_PANELS | logs).items()]
    return [series for series in history if series.y]


def _series(lines: Sequence[dict[str, Any]], field: str, panel: str, name: str) -> Series:
    """Collect the values of a field, at most about `MAX_POINTS`."""
    points = [line for line in lines if isinstance(line.get(field), int | float)]
    points = [points[index] for index in thin([float(line[field]) for line in points], MAX_POINTS)]
    values = [float(line[field]) for line in points]
    return Series(
        panel,
        name,
        [line["step"] for line in points],
        [round(line["minutes"], 4) for line in points],
        [value if math.isfinite(value) else None for value in values],
    )


def thin(values: Sequence[float], count: int) -> list[int]:
    """Return the indices of at most about `count` values that keep the lowest and the highest of each interval.

    So a spike of a single step stays visible. The first and the last value and values that are not finite are kept.
    """
    if len(values) <= count:
        return list(range(len(values)))
    width = -(-2 * len(values) // count)
    kept = {0, len(values) - 1} | {index for index, value in enumerate(values) if not math.isfinite(value)}
    for start in range(0, len(values), width):
        interval = range(start, min(start + width, len(values)))
        kept |= {min(interval, key=values.__getitem__), max(interval, key=values.__getitem__)}
    return sorted(kept)
