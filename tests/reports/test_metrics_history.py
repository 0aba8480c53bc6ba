"""Series of metrics.jsonl: equal to its lines, and spikes stay when a series is thinned."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from contracts.trained import Trained

from seqlab.reports.metrics_history import MAX_POINTS, read_series, thin
from seqlab.runs.folder import RunFolder


def test_series_equal_the_lines(trained_row: Callable[[str], Trained]) -> None:
    run = trained_row("transformer").run
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    series = {(each.panel, each.name): each for each in read_series(RunFolder(run), [])}
    train = [line for line in lines if line["kind"] == "train"]
    valid = [line for line in lines if line["kind"] == "valid"]
    assert series["loss", "training"].y == [line["loss"] for line in train]
    assert series["loss", "validation"].y == [line["nll_per_tgt_token"] for line in valid]
    assert series["validation bleu", "validation"].step == [line["step"] for line in valid]
    assert len(series["learning rate", "training"].minutes) == len(train)


def test_values_that_are_not_finite_are_gaps(tmp_path: Path) -> None:
    lines = [{"kind": "train", "step": step, "minutes": 0.1, "loss": loss} for step, loss in ((1, 2.0), (2, None))]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_series(RunFolder(tmp_path), [])[0].y == [2.0, None]


def test_thinning_keeps_ends_spikes_and_gaps() -> None:
    values = np.sin(np.arange(12_345) / 500).tolist()
    values[7_000], values[9_000] = 50.0, math.nan
    kept = thin(values, MAX_POINTS)
    assert {0, 7_000, 9_000, 12_344} <= {*kept}
    assert kept == sorted(set(kept))
    assert len(kept) <= MAX_POINTS + 3
    assert thin([1.0, 2.0], MAX_POINTS) == [0, 1]
