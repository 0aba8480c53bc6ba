"""Growth benchmark: fitted exponents, and measurements along every axis (a size that grows) at tiny sizes."""

from dataclasses import replace
from pathlib import Path

import pytest
from reference.tiny_benchmark import TINY, call_worker

from benchmarks import growth, machine
from benchmarks.__main__ import make_parser
from benchmarks.growth import AXES, fit_exponent


def test_fitted_exponent_of_a_power() -> None:
    sizes = [2.0, 5.0, 11.0, 40.0]
    assert fit_exponent(sizes, [3.0 * size**1.7 for size in sizes]) == pytest.approx(1.7)


@pytest.mark.learning
def test_every_axis_is_measured_and_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "run_worker", call_worker)
    monkeypatch.setattr(machine, "run_worker", call_worker)
    small = {"length": (4, 8), "d_model": (8, 16), "vocab_size": (50, 100), "pairs": (200, 400)}
    monkeypatch.setattr(growth, "AXES", [replace(axis, values=small.get(axis.field, (1, 2))) for axis in AXES])
    options = ["growth", "--quick", "--threads", "1", "--work_dir", str(tmp_path)]
    report = growth.run(make_parser().parse_args(options), TINY)
    assert [row.more["axis"] for row in report.rows[::2]] == [axis.name for axis in AXES]
    for first, second in zip(report.rows[::2], report.rows[1::2], strict=True):
        assert second.more["n"] == 2 * first.more["n"]
        assert second.more["counted"] > first.more["counted"]
        assert first.more["seconds"] > 0
    assert [note.partition(":")[0] for note in report.notes] == [axis.name for axis in AXES]
    assert "counted: n^1.00" in report.notes[1]  # operations are proportional to the sentences
