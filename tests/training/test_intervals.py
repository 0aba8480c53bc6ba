"""When training logs, saves and validates: by steps, and by time where the minutes end it after few of them."""

import itertools
import logging
from pathlib import Path

import pytest
from reference.tiny_runs import comparable_metrics, tiny_config

import seqlab.training.loop
from seqlab.runs.config import TrainingConfig
from seqlab.runs.folder import RunFolder
from seqlab.training import train
from seqlab.training.intervals import MAX_TIMED_EVENTS, VALIDATION_SPACING, due_events
from seqlab.training.state import Progress


def simulate(
    training: TrainingConfig, seconds_per_step: float, validation_seconds: float = 0.0
) -> dict[str, list[int]]:
    """Return the steps of each event, of a run whose steps and validations take a given time."""
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
def test_without_a_limit_that_matters_only_steps_count(max_minutes: float | None) -> None:
    training = TrainingConfig(max_steps=1000, log_every=50, save_every=100, valid_every=300, max_minutes=max_minutes)
    events = simulate(training, seconds_per_step=1.0)
    assert events == {
        "log": list(range(50, 1001, 50)),
        "save": list(range(100, 1001, 100)),
        "valid": [300, 600, 900],
    }


def test_what_is_planned_for_all_steps_happens_in_the_minutes() -> None:
    """10 of 1,000 minutes: about as many validations as were planned, each after an equal share of the time."""
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
    assert events["log"][-1] > 500  # most of the 600 seconds were steps


def test_a_run_of_minutes_is_logged_validated_and_saved(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = itertools.count(step=0.5)

    class Time:
        @staticmethod
        def monotonic() -> float:
            return float(next(clock))

    monkeypatch.setattr(seqlab.training.loop, "time", Time)
    config = tiny_config(corpus, max_steps=10_000, valid_every=2000, save_every=1000, log_every=500, max_minutes=1.0)
    with caplog.at_level(logging.INFO):
        run_dir = train(config, tmp_path / "run")
    assert len(comparable_metrics(run_dir, ["valid"])) >= 3
    assert len(comparable_metrics(run_dir, ["train"])) >= 10
    texts = [record.getMessage() for record in caplog.records]
    assert any(text.startswith("first step: loss ") for text in texts)
    [early] = [number for number, text in enumerate(texts) if text.startswith("at this pace about ")]
    assert early < len(texts) / 2
    assert any("so this model is probably poor" in text for text in texts)
    assert any("`training.max_minutes` (1) was reached after" in text for text in texts)
    assert len(list(RunFolder(run_dir).checkpoints.iterdir())) >= 2  # an average of the last regular ones
    caplog.clear()
    with caplog.at_level(logging.INFO):
        train(config, run_dir)
    assert "nothing to train: `training.max_minutes` (1) was reached after" in caplog.text
