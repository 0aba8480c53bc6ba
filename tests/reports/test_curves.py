"""Training curves: values of metrics.jsonl, panels shared by several runs, and errors."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from contracts.trained import Trained

from seqlab.reports.curves import draw_curves, read_curves, save_curves


@pytest.fixture
def copies(trained_row: Callable[[str], Trained], tmp_path: Path) -> list[Path]:
    """Return two copies of the files that curves are drawn from, of a trained translator."""
    run_dir = trained_row("transformer").run
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for file in ("run.json", "config.yaml", "metrics.jsonl"):
            (tmp_path / name / file).write_bytes((run_dir / file).read_bytes())
    return [tmp_path / "one", tmp_path / "two"]


def test_curves_equal_the_metrics(copies: list[Path]) -> None:
    run = copies[0]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    valid = [line for line in lines if line["kind"] == "valid"]
    curves = read_curves(run)
    assert curves["training loss"].x == [line["step"] for line in train]
    assert curves["training loss"].y == [line["loss"] for line in train]
    assert curves["gradient norm"].y == [line["grad_norm"] for line in train]
    assert len(next(curve for name, curve in curves.items() if name.startswith("validation")).x) == len(valid)
    by_epoch = read_curves(run, "epoch")
    assert by_epoch["learning rate"].x == pytest.approx([line["epoch"] for line in train], rel=0.05)
    assert read_curves(run, "minutes")["learning rate"].x == [line["minutes"] for line in train]


def test_several_runs_share_panels_and_files_are_deterministic(copies: list[Path], tmp_path: Path) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    curves = {name: {"a": curve, "b": curve} for name, curve in read_curves(copies[0]).items()}
    panels = list(figure.subplots(len(curves), squeeze=False)[:, 0])
    draw_curves(panels, curves)
    assert [axes.get_ylabel() for axes in panels] == list(curves)
    assert all(len(axes.lines) == 2 for axes in panels)
    assert panels[-1].get_xlabel() == "step"
    save_curves(tmp_path / "c.svg", copies)
    first = (tmp_path / "c.svg").read_bytes()
    save_curves(tmp_path / "c.svg", copies)
    assert (tmp_path / "c.svg").read_bytes() == first


def test_every_run_is_in_a_legend(copies: list[Path]) -> None:
    """A run without training curves is missing in the first panel."""
    figure = pytest.importorskip("matplotlib.figure").Figure()
    curves = {name: {"a": curve, "b": curve} for name, curve in read_curves(copies[0]).items()}
    del curves["training loss"]["b"]
    panels = list(figure.subplots(len(curves), squeeze=False)[:, 0])
    draw_curves(panels, curves)
    legends = [axes.get_legend() for axes in panels]
    assert [[text.get_text() for text in legend.get_texts()] for legend in legends if legend] == [["a"], ["a", "b"]]


def test_missing_runs_and_empty_metrics_are_refused(copies: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no run folder"):
        save_curves(tmp_path / "c.png", [tmp_path / "none"])
    (copies[0] / "metrics.jsonl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"metrics\.jsonl has no measurements yet"):
        save_curves(tmp_path / "c.png", copies)
    with pytest.raises(ValueError, match=r"must end in \.png or \.svg"):
        save_curves(tmp_path / "c.gif", copies[1:])
