"""Training that is killed at random moments and resumed: equals uninterrupted training bit for bit."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from reference.tiny_runs import assert_equal_runs, comparable_metrics
from transcription.conftest import tiny_config, write_corpus

from seqlab.runs.config import write_config

from .conftest import TrainingProcess

MAX_STEPS, VALID_EVERY = 60, 20
NUM_RECORDINGS = {"train": 40, "valid": 8}
SETUP, CHECKPOINT, VALIDATION, ANY_TIME = "setup", "checkpoint", "validation", "any time"


def kill_condition(kind: str, run_dir: Path, seconds: float, rng: random.Random) -> Callable[[], bool]:
    """Return a condition that becomes true at a random moment: during setup, a checkpoint, validation, or any time."""
    deadline = time.monotonic() + rng.uniform(0, seconds)
    min_files = rng.randrange(4)
    seen: set[str] = set()
    num_metrics = len(comparable_metrics(run_dir)) if (run_dir / "metrics.jsonl").exists() else 0

    def in_setup() -> bool:
        """Between the first file and the first step, while tokenizer, cache, config and run.json are written."""
        names = {path.name for path in run_dir.iterdir()} if run_dir.is_dir() else set()
        return len(names) > min_files and "checkpoints" not in names

    def in_checkpoint() -> bool:
        seen.update(path.name for path in (run_dir / "checkpoints").glob("*.tmp"))
        return len(seen) > min_files and any((run_dir / "checkpoints").glob("*.tmp"))

    def in_validation() -> bool:
        if not (run_dir / "metrics.jsonl").exists():
            return False
        lines = comparable_metrics(run_dir)
        return len(lines) > num_metrics and lines[-1]["kind"] == "train" and lines[-1]["step"] % VALID_EVERY == 0

    def after_delay() -> bool:
        return time.monotonic() > deadline

    conditions = {SETUP: in_setup, CHECKPOINT: in_checkpoint, VALIDATION: in_validation, ANY_TIME: after_delay}
    return conditions[kind]


def kill_and_resume(
    config_file: Path, folder: Path, uninterrupted: tuple[Path, float], kinds: list[str], seed: int
) -> int:
    """Kill once for each kind of moment, in as many runs as needed; compare each run. Return the number of kills."""
    expected, seconds = uninterrupted
    rng = random.Random(seed)
    remaining, kills, runs = list(kinds), 0, 0
    while remaining:
        runs += 1
        run_dir = folder / str(runs)
        # A run has one setup. For another kill during setup, complete this run and start a new one.
        while remaining and (remaining[0] != SETUP or not (run_dir / "checkpoints").exists()):
            training = TrainingProcess(config_file, run_dir)
            if not training.wait_for(kill_condition(remaining[0], run_dir, seconds, rng)):
                break  # training ended before
            training.signal_and_finish(signal.SIGKILL)
            kills += 1
            print(f"kill {kills}: {remaining.pop(0)}, run {runs}, step {last_logged_step(run_dir)}")
        status, _, err = TrainingProcess(config_file, run_dir).finish()
        assert status == 0, err
        assert_equal_runs(run_dir, expected)
        names = {path.name for path in (run_dir / "checkpoints").iterdir()}
        assert names == {path.name for path in (expected / "checkpoints").iterdir()}
    return kills


def last_logged_step(run_dir: Path) -> int:
    """Return the last step in `metrics.jsonl`, or 0."""
    steps = [line["step"] for line in comparable_metrics(run_dir)] if (run_dir / "metrics.jsonl").exists() else []
    return max(steps, default=0)


def test_three_kills(config_file: Path, uninterrupted: tuple[Path, float], tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    kinds = [SETUP, *random.Random(seed).sample([CHECKPOINT, VALIDATION, ANY_TIME], 2)]
    assert kill_and_resume(config_file, tmp_path, uninterrupted, kinds, seed) == 3


def test_kills_with_audio_augmentation(tmp_path: Path) -> None:
    """Augmentations are drawn again with the same result, also with another number of workers."""
    corpus = {
        name: write_corpus(tmp_path, name, count, number) for number, (name, count) in enumerate(NUM_RECORDINGS.items())
    }
    augmentation = {
        "augment_speed": 0.1,
        "augment_noise": 0.5,
        "augment_room": 0.3,
        "augment_time_masks": 1,
        "augment_nonspeech": 0.1,
    }
    steps = {"max_steps": 24, "log_every": 2, "save_every": 4, "valid_every": 12}
    for workers in (1, 3):
        config = tiny_config(corpus["train"], valid=corpus["valid"], workers=workers, **augmentation, **steps)
        write_config(config, tmp_path / f"{workers}.yaml")
    started = time.monotonic()
    training = TrainingProcess(tmp_path / "3.yaml", tmp_path / "uninterrupted")
    status, _, err = training.finish()
    assert status == 0, err
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    uninterrupted = training.run_dir, time.monotonic() - started
    assert kill_and_resume(tmp_path / "1.yaml", tmp_path / "runs", uninterrupted, [CHECKPOINT, ANY_TIME], seed) == 2


@pytest.mark.learning
def test_many_kills(config_file: Path, uninterrupted: tuple[Path, float], tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    kinds = [SETUP, CHECKPOINT, VALIDATION, ANY_TIME, ANY_TIME] * 2
    assert kill_and_resume(config_file, tmp_path, uninterrupted, kinds, seed) == len(kinds)


def test_sigterm_and_sigint_stop_with_a_checkpoint(
    config_file: Path, uninterrupted: tuple[Path, float], tmp_path: Path
) -> None:
    run_dir, last = tmp_path / "run", -1

    def has_advanced() -> bool:
        return any((run_dir / "checkpoints").glob("step_*[05]")) and last_checkpoint_step(run_dir) > last

    for number, expected_status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        training = TrainingProcess(config_file, run_dir)
        assert training.wait_for(has_advanced)
        status, out, err = training.signal_and_finish(number)
        assert (status, out) == (expected_status, b""), err
        last = last_checkpoint_step(run_dir)
        [line] = [line for line in err.splitlines() if line.startswith("seqlab: ")]
        assert line == err.splitlines()[-1]
        assert line == (
            f"seqlab: {number.name}: stopped after step {last} with a checkpoint; the same command continues."
        )
        assert 0 < last < MAX_STEPS
    status, out, err = TrainingProcess(config_file, run_dir).finish()
    assert (status, out) == (0, b""), err
    assert f"Continuing {run_dir} after step {last}." in err
    assert_equal_runs(run_dir, uninterrupted[0])


def last_checkpoint_step(run_dir: Path) -> int:
    """Return the step of the last complete checkpoint."""
    names = [path.name for path in (run_dir / "checkpoints").iterdir()]
    return max((int(name.removeprefix("step_")) for name in names if name.removeprefix("step_").isdigit()), default=0)
