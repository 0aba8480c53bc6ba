"""Quality benchmark: training time without validation, thresholds, ratios, and complete curves of tiny models."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from reference.tiny_benchmark import TINY, call_worker
from reference.tiny_runs import tiny_config, write_numbers

from benchmarks import machine, quality
from benchmarks.__main__ import make_parser
from benchmarks.quality import System, add_ratios, minutes_to, summarize
from benchmarks.records import Json, Point
from benchmarks.report import Row
from benchmarks.workers.quality_seqlab import curve
from seqlab.runs.config import write_config


def make_metrics(step_minutes: list[float], validations: dict[int, tuple[float, float]]) -> list[Json]:
    """Make metrics lines of steps with these durations; `validations` is {step: (minutes, BLEU)}."""
    lines: list[Json] = []
    clock = 0.0
    for step, minutes in enumerate(step_minutes, start=1):
        clock += minutes
        lines.append({"kind": "train", "step": step, "minutes": clock})
        if step in validations:
            duration, bleu = validations[step]
            lines.append({"kind": "valid", "step": step, "minutes": clock, "bleu": bleu})
            clock += duration
    return lines


def test_validation_time_is_excluded() -> None:
    found = curve(make_metrics([2.0, 1.0, 1.0, 1.0, 1.0, 1.0], {2: (30.0, 5.0), 4: (70.0, 9.0), 6: (1.0, 12.0)}))
    assert found == [Point(3.0, 2, 5.0), Point(5.0, 4, 9.0), Point(7.0, 6, 12.0)]
    assert curve(make_metrics([1.0, 1.0], {})) == []


def test_minutes_to_a_threshold_are_those_of_the_first_validation_above_it() -> None:
    points = [Point(1.0, 10, 5.0), Point(2.0, 20, 21.0), Point(3.0, 30, 19.0)]
    assert [minutes_to(points, bleu) for bleu in (5.0, 20.0, 22.0)] == [1.0, 2.0, None]


def test_ratios_use_the_highest_threshold_that_both_reached() -> None:
    rows = [
        Row("seqlab", "quality", "bf16", "", more={"minutes_to_20": 2.0, "minutes_to_30": 5.0}),
        Row("slow", "quality", "bf16", "", more={"minutes_to_20": 6.0, "minutes_to_30": 20.0}),
        Row("never", "quality", "bf16", "", more={"minutes_to_20": 6.0, "minutes_to_30": None}),
        Row("absent", "quality", "bf16", "", note="not installed"),
    ]
    add_ratios(rows, (20.0, 30.0))
    assert [row.ratio for row in rows] == [1.0, 4.0, 3.0, None]


def test_runs_too_short_for_a_speed_have_a_row() -> None:
    points = [asdict(Point(2.0, 20, 21.0))]
    found = [{"curve": points, "tokens_per_second": rate, "peak_memory_mb": 1.0} for rate in (None, 50.0)]
    row = summarize(System("seqlab", "quality_seqlab", 1), found, "bf16", (20.0,))
    assert (row.tokens_per_second, row.min, row.more["minutes_to_20"]) == (50.0, 50.0, 2.0)
    assert summarize(System("seqlab", "quality_seqlab", 1), found[:1], "bf16", (20.0,)).tokens_per_second is None


@pytest.mark.learning
def test_all_systems_and_a_recipe_have_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "run_worker", call_worker)
    monkeypatch.setattr(machine, "run_worker", call_worker)
    options = ["quality", "--quick", "--threads", "1", "--minutes", "0.001", "--valid_every", "3", "--dtype", "fp32"]
    write_numbers(tmp_path, range(1, 60))
    recipe = tmp_path / "recipe.yaml"
    write_config(tiny_config(tmp_path), recipe)
    arguments = make_parser().parse_args([*options, "--work_dir", str(tmp_path), "--recipe", str(recipe)])
    installed = [each for each in quality.systems(str(recipe)) if not each.environment]
    monkeypatch.setattr(quality, "systems", lambda recipe: installed)
    report = quality.run(arguments, replace(TINY, repetitions=1))
    measured = {row.system: row for row in report.rows if row.tokens_per_second}
    assert {"seqlab", "transformers", f"seqlab, {recipe}"} == measured.keys()
    assert measured[f"seqlab, {recipe}"].setting == "its own recipe"
    for system in measured:
        (points,) = report.more["curves"][system]
        assert [point["step"] for point in points] == list(range(3, 3 * len(points) + 1, 3))
        assert all(0 <= point["bleu"] <= 100 for point in points)
