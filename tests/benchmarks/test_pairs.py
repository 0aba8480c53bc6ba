"""Comparison of two checkouts: order, ratios, intervals, and a complete measurement of this checkout."""

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.pairs import (
    MEASURES,
    Checkout,
    Turn,
    Workload,
    measure_pairs,
    measure_turn,
    median_interval,
    summarize_ratios,
    train,
    write_corpus,
)
from benchmarks.processes import ROOT


def test_every_second_pair_is_measured_in_reverse_order(tmp_path: Path) -> None:
    checkouts = [Checkout(tmp_path / name, tmp_path, 1) for name in ("before", "after")]
    order: list[str] = []

    def measure(checkout: Checkout) -> Turn:
        order.append(checkout.path.name)
        return Turn(dict.fromkeys((each.name for each in MEASURES), float(len(order))), [], [])

    pairs = measure_pairs(checkouts, 4, measure)
    assert order == ["before", "after", "after", "before", "before", "after", "after", "before"]
    before, after = ([turn.values["training"] for turn in turns] for turns in zip(*pairs, strict=True))
    assert (before, after) == ([1, 4, 5, 8], [2, 3, 6, 7])


def test_a_faster_checkout_has_ratios_above_one() -> None:
    """Twice the rate and half the seconds are both a ratio of 2; the interval of equal ratios has no width."""
    before = Turn({each.name: 4.0 for each in MEASURES}, [], [])
    after = Turn({each.name: 8.0 if each.is_rate else 2.0 for each in MEASURES}, [], [])
    for measure in MEASURES:
        assert summarize_ratios(measure, [(before, after)] * 10) == {"median": 2.0, "low": 2.0, "high": 2.0}


def test_the_median_interval_is_close_to_that_of_order_statistics() -> None:
    """The distribution-free 95% interval of the median of 10 values is from the second to the ninth value."""
    low, high = median_interval([float(value) for value in range(1, 11)])
    assert 2 <= low <= 3.5
    assert 7.5 <= high <= 9


def test_folders_that_are_not_checkouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"`AFTER`: none is not a checkout of seqlab"):
        main(["pairs", str(ROOT), "none", "--work_dir", str(tmp_path)])


@pytest.mark.learning
def test_a_measurement_has_all_values_and_is_reproducible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.pairs.HELP_CALLS", 1)
    workload = Workload(pairs=500, steps=10, warmup_steps=5, run_steps=5, lines=4)
    write_corpus(tmp_path, workload)
    checkout = Checkout(ROOT, tmp_path, 1)
    train(checkout, workload.run_steps, workload.run_steps, tmp_path / "run")
    first, second = (measure_turn(checkout, workload) for _ in range(2))
    assert set(first.values) == {each.name for each in MEASURES}
    assert min(first.values.values()) > 0
    assert len(first.translations) == workload.lines
    assert (first.losses, first.translations) == (second.losses, second.translations)
