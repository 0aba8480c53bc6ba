"""Contracts of training, shown by one training for each row of the table: resume, workers, micro-steps, ranks."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contracts.outside import outside_parts
from contracts.row import Row
from contracts.trained import Trained, copying_checkpoints
from reference.ranks import run_in_ranks
from reference.tiny_runs import assert_close_runs, assert_equal_runs, comparable_metrics

import seqlab.training.loop
from seqlab.base.world import World
from seqlab.data.step import TrainingStep
from seqlab.runs.checkpoint import WEIGHTS, checkpoint_name, checkpoint_steps, read_state, read_tensors
from seqlab.runs.codecs import load_tokenizers
from seqlab.runs.folder import RunFolder
from seqlab.training import train
from seqlab.training.state import TrainingRun

OTHER_SETTINGS: tuple[dict[str, int], ...] = (
    {"prefetch_steps": 0, "workers": 1},
    {"prefetch_steps": 5, "workers": 3},
    {},
)
"""Data settings of the runs resumed at each checkpoint, which must not change the result."""
PARTS_OF_A_STEP = 3


@pytest.mark.rows(lambda row: not row.is_count_based)
@pytest.mark.parametrize("number", range(3))
def test_resumed_runs_equal_the_uninterrupted_one(trained: Trained, number: int, tmp_path: Path) -> None:
    """From each checkpoint, with other numbers of workers and of steps prepared ahead, bit for bit."""
    changes = {
        f"data__{name}": value for name, value in OTHER_SETTINGS[number].items() if trained.row.has_data_field(name)
    }
    run = train(trained.config(**changes), trained.copy_at(trained.row.checkpoints[number], tmp_path / "run"))
    assert_equal_runs(run, trained.run)
    resumed, uninterrupted = (folder / "checkpoints" for folder in (run, trained.run))
    assert {path.name for path in resumed.iterdir()} == {path.name for path in uninterrupted.iterdir()}, "leftovers"


@pytest.mark.rows(lambda row: not row.is_count_based)
def test_the_last_checkpoint_to_resume_from_is_in_a_later_epoch(trained: Trained) -> None:
    step = trained.row.checkpoints[-1]
    state = read_state(trained.folder / f"at_{step}" / "checkpoints" / checkpoint_name(step))
    assert state["progress"]["position"]["epoch"] >= 1


@pytest.mark.rows(lambda row: row.optim.get("average_trigger"))
def test_the_triggered_average_starts_before_a_checkpoint_to_resume_from(trained: Trained) -> None:
    [event] = comparable_metrics(trained.run, ["event"])
    assert trained.row.checkpoints[0] < event["step"] < trained.row.checkpoints[1]


@pytest.mark.rows(lambda row: not row.is_random and not row.single_process)
def test_losses_do_not_depend_on_micro_steps_and_ranks(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses of all steps, validations and last weights, without dropout: each step in thirds, and on two ranks."""
    row = trained.row
    expected = train(trained.exact_config(), tmp_path / "one")
    ranks = tmp_path / "ranks"
    assert run_in_ranks(2, train_in_this_rank, row, trained.corpora, ranks) == [ranks] * 2
    assert_close_runs(ranks, expected, row.rounding)
    if row.norm_over_micro_steps:
        return
    monkeypatch.setattr(seqlab.training.loop, "training_steps", divided_steps)
    assert_close_runs(train(trained.exact_config(), tmp_path / "divided"), expected, row.rounding)


@pytest.mark.rows(lambda row: row.draws_random_numbers)
def test_runs_on_two_ranks_with_random_numbers_resume_exactly(trained: Trained, tmp_path: Path) -> None:
    """With all random numbers of the row, bit for bit."""
    row, step = trained.row, trained.row.checkpoints[1]
    arguments = (row, trained.corpora, tmp_path)
    assert run_in_ranks(2, train_and_copy_in_this_rank, *arguments) == [tmp_path / "run"] * 2
    resumed = tmp_path / f"at_{step}"
    assert run_in_ranks(2, train_row_in_this_rank, row, trained.corpora, resumed) == [resumed] * 2
    assert_equal_runs(resumed, tmp_path / "run")


def train_and_copy_in_this_rank(row: Row, corpora: Path, folder: Path) -> Path:
    """Train the row as one of several ranks, with copies at the checkpoints to resume from."""
    with copying_checkpoints(row, folder):
        return train_row_in_this_rank(row, corpora, folder / "run")


def train_row_in_this_rank(row: Row, corpora: Path, run_dir: Path) -> Path:
    return train(row.config(corpora, training__parallel=row.parallel), run_dir)


@pytest.mark.rows(lambda row: row.optim.get("frozen_vectors"))
def test_only_rows_with_word_vectors_are_frozen(trained: Trained) -> None:
    """From the first checkpoint to the end; the vectors of words that the file lacks are trained."""
    tokenizers = load_tokenizers(RunFolder(trained.run))
    steps = (trained.row.checkpoints[0], checkpoint_steps(trained.run / "checkpoints")[-1])
    folders = (trained.folder / f"at_{steps[0]}", trained.run)
    before, after = (
        read_tensors(folder / "checkpoints" / checkpoint_name(step), WEIGHTS)
        for folder, step in zip(folders, steps, strict=True)
    )
    for tokenizer, name, file in zip(tokenizers, ("encoder", "decoder"), ("en", "de"), strict=True):
        vectors, text = (trained.corpora / f"{start}{file}" for start in ("vectors_", "numbers."))
        in_file = {line.split(" ")[0] for line in vectors.with_suffix(".txt").read_text("utf-8").splitlines()[1:]}
        in_training = set(text.read_text("utf-8").split())
        weights = f"{name}.embedding.weight"
        is_equal = (before[weights] == after[weights]).all(1).tolist()
        frozen = {token for token, equal in zip(tokenizer.tokens(range(len(is_equal))), is_equal, strict=True) if equal}
        assert frozen & in_training == in_file & in_training != in_training


def train_in_this_rank(row: Row, corpora: Path, run_dir: Path) -> Path:
    """Train the row without dropout as one of several ranks."""
    with outside_parts(row.plugin):
        return train(row.exact_config(corpora, training__parallel=row.parallel), run_dir)


def divided_steps(run: TrainingRun) -> Iterator[TrainingStep[Any]]:
    """Yield the steps of a run with more and smaller micro-steps: the shares of several ranks, one after the other."""
    worlds = [World(rank, PARTS_OF_A_STEP) for rank in range(PARTS_OF_A_STEP)]
    after = run.progress.position
    shares = [run.task.steps(run.data, run.config, run.codecs, world, after) for world in worlds]
    for step in zip(*shares, strict=True):
        micro_steps = [batch for share in step for batch in share.micro_steps]
        yield replace(step[0], micro_steps=micro_steps)
