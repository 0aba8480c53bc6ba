"""Intervals of logging, saving and validation: by steps, or by time if `max_minutes` allows few steps."""

import itertools
import logging
from pathlib import Path

import pytest
from reference.tiny_runs import comparable_metrics, tiny_config

from seqlab.runs.config import TrainingConfig
from seqlab.runs.folder import RunFolder
from seqlab.training import train
from seqlab.training.intervals import MAX_TIMED_EVENTS, VALIDATION_SPACING, due_events
from seqlab.training.state import Progress
from seqlab.training.stopping import log_early_stop, warn_of_few_steps

from .conftest import advancing_clock, replace_clock


def simulate(
    training: TrainingConfig, seconds_per_step: float, validation_seconds: float = 0.0
) -> dict[str, list[int]]:
    """Return the steps of each kind of event for given durations of steps and validations."""
    progress, events = Progress(), {"log": [], "save": [], "valid": []}
    while progress.step < training.num_steps and progress.minutes < (training.max_minutes or 1e9):
        progress.step += 1
        progress.minutes += seconds_per_step / 60
        for event in due_events(progress, training):
            events[event].append(progress.step)
            if event == "valid":
                progress.validation_minutes = validation_seconds / 60
                progress.minutes += validation_seconds / 60
    return events


@pytest.mark.parametrize("max_minutes", [None, 1000.0])
def test_intervals_count_steps_unless_time_is_short(max_minutes: float | None) -> None:
    training = TrainingConfig(max_steps=1000, log_every=50, save_every=100, valid_every=300, max_minutes=max_minutes)
    events = simulate(training, seconds_per_step=1.0)
    assert events == {
        "log": list(range(50, 1001, 50)),
        "save": list(range(100, 1001, 100)),
        "valid": [300, 600, 900],
    }


def test_planned_events_are_spread_over_the_available_time() -> None:
    """All steps would take 1,000 minutes: 10 minutes have about as many validations as planned, evenly spaced."""
    training = TrainingConfig(max_steps=60_000, log_every=50, save_every=5000, valid_every=10_000, max_minutes=10.0)
    events = simulate(training, seconds_per_step=1.0)
    assert 4 <= len(events["valid"]) <= 6
    gaps = [later - earlier for earlier, later in itertools.pairwise(events["valid"])]
    assert max(gaps) <= 1.2 * min(gaps)
    assert 8 <= len(events["save"]) <= 12
    assert 30 <= len(events["log"]) <= MAX_TIMED_EVENTS["log"]


def test_validations_leave_time_for_training() -> None:
    training = TrainingConfig(max_steps=60_000, valid_every=600, max_minutes=10.0)
    events = simulate(training, seconds_per_step=1.0, validation_seconds=10.0)
    assert 2 <= len(events["valid"]) <= 600 / (VALIDATION_SPACING * 10)
    assert events["log"][-1] > 500  # training steps take most of the 600 seconds


@pytest.mark.parametrize(("max_minutes", "earliest"), [(0.03, 0.015), (1.0, 0.5), (3.0, 1.0), (60.0, 6.0)])
def test_the_first_validation_leaves_time_for_training(max_minutes: float, earliest: float) -> None:
    """Its duration is unknown: here it takes all the remaining time."""
    training = TrainingConfig(max_steps=10**6, valid_every=50_000, max_minutes=max_minutes)
    events = simulate(training, seconds_per_step=0.01, validation_seconds=60 * max_minutes)
    [first] = events["valid"]
    assert first * 0.01 / 60 == pytest.approx(earliest, rel=0.02)


def test_a_run_with_a_time_limit_is_logged_validated_and_saved(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace_clock(monkeypatch, advancing_clock(seconds=0.5))
    config = tiny_config(corpus, max_steps=10_000, valid_every=2000, save_every=1000, log_every=500, max_minutes=1.0)
    with caplog.at_level(logging.INFO):
        run_dir = train(config, tmp_path / "run")
    assert len(comparable_metrics(run_dir, ["valid"])) >= 3
    assert len(comparable_metrics(run_dir, ["train"])) >= 10
    messages = [record.getMessage() for record in caplog.records]
    assert any(message.startswith("first step: loss ") for message in messages)
    [early_warning] = [index for index, message in enumerate(messages) if message.startswith("at this pace about ")]
    assert early_warning < len(messages) / 2
    assert any("so this model is probably poor" in message for message in messages)
    assert any("`training.max_minutes` (1) was reached after" in message for message in messages)
    assert len(list(RunFolder(run_dir).checkpoints.iterdir())) >= 2  # the regular checkpoints for the weight average
    caplog.clear()
    with caplog.at_level(logging.INFO):
        train(config, run_dir)
    assert "nothing to train: `training.max_minutes` (1) was reached after" in caplog.text


@pytest.mark.parametrize(("is_fine_tuned", "text"), [(False, "poor"), (True, "fine-tuning")])
def test_few_steps_of_fine_tuning_do_not_make_a_model_poor(
    is_fine_tuned: bool, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    progress, training = Progress(step=5, minutes=1.0), TrainingConfig(max_steps=100, max_minutes=1.0)
    log_early_stop(progress, training, is_fine_tuned=is_fine_tuned)
    warn_of_few_steps(progress, training, is_fine_tuned=is_fine_tuned)
    assert caplog.text.count(text) == 2
    assert ("poor" in caplog.text) == (not is_fine_tuned)
