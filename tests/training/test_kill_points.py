"""Kills at every operation on the run folder: the same command then completes the run, with equal files.

The protocol of the folder is that of real runs. Only `fit` and the encoded data are replaced: a step adds its number to
the weights, so that a kill point takes milliseconds. The kill points of the cache are in
`tests/data/test_cache_builder.py`, and `tests/system/test_kills.py` kills processes of real trainings.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.tiny_runs import assert_equal_runs, tiny_config, with_training, write_numbers

from seqlab.data.prepare import open_prepared
from seqlab.runs.codecs import load_codecs
from seqlab.runs.config import Config
from seqlab.runs.folder import RUN_ID, RunFolder
from seqlab.tasks.translation.task import TranslationTask
from seqlab.text import CharactersConfig
from seqlab.training import train
from seqlab.training.state import TrainingRun

OPERATIONS = ("fsync", "rename", "replace", "mkdir", "rmdir", "unlink", "ftruncate")


def fit_without_model(run: TrainingRun) -> None:
    """Log, validate and save as `fit` does, without computing gradients."""
    training, progress = run.config.training, run.progress
    while progress.step < training.num_steps:
        progress.step += 1
        step = progress.step
        with torch.no_grad():
            for parameter in run.model.parameters():
                parameter.add_(float(step))
        if step % training.log_every == 0:
            run.metrics_logger.write("train", step=step, loss=1 / step)
        is_last = step == training.num_steps
        if step % training.valid_every == 0 or is_last:
            weights, nll = run.inference_weights(), abs(step - 5.0)  # step 5 is the best
            progress.add_validation(-nll, nll, training.keep_best)
            run.metrics_logger.write("valid", step=step, nll_per_tgt_token=nll)
            run.save(weights)
        elif step % training.save_every == 0:
            run.save()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Return the config of a run of 8 steps that keeps its best checkpoint and averages the last three."""
    write_numbers(tmp_path, range(1, 30))
    config = tiny_config(tmp_path, max_steps=8, save_every=2, valid_every=5, log_every=1)
    config = replace(config, data=replace(config.data, tokenizer=CharactersConfig(), subword_sampling=0.0))
    monkeypatch.setattr(import_module("seqlab.training.train"), "fit", fit_without_model)
    first = RunFolder(train(with_training(config, max_steps=1), tmp_path / "first"))
    data = open_prepared(config.data, load_codecs(first), first.cache)
    monkeypatch.setattr(TranslationTask, "prepare", lambda *arguments: data)
    return config


@contextmanager
def copies_before_operations(run_dir: Path, folder: Path) -> Iterator[list[Path]]:
    """Copy a run folder before each operation on it: each copy is what a SIGKILL would leave."""
    copies: list[Path] = []
    is_copying = False

    def copying(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal is_copying
            if not is_copying and run_dir.is_dir():
                is_copying = True
                copies.append(Path(shutil.copytree(run_dir, folder / str(len(copies)))))
                is_copying = False
            return operation(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in OPERATIONS:
            monkeypatch.setattr(os, name, copying(getattr(os, name)))
        yield copies


def assert_kills_are_recovered(config: Config, run_dir: Path, min_kill_points: int) -> None:
    """Train, and again from the run folder as it was before each operation: the files are equal, with no leftovers."""
    with copies_before_operations(run_dir, run_dir.with_name("copies")) as copies:
        train(config, run_dir)
    assert len(copies) >= min_kill_points
    for run_copy in copies:
        train(config, run_copy)
        assert_equal_runs(run_copy, run_dir)
        assert relative_paths(run_copy) == relative_paths(run_dir)
        shutil.rmtree(run_copy)


def relative_paths(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_new_run(config: Config, tmp_path: Path) -> None:
    assert_kills_are_recovered(config, tmp_path / "run", min_kill_points=50)


def test_a_resumed_run_with_another_config(config: Config, tmp_path: Path) -> None:
    """A kill while config.yaml and run.json are replaced leaves the old or the new ones, never a mixture."""
    run_dir = train(config, tmp_path / "run")
    assert_kills_are_recovered(with_training(config, max_steps=12, log_every=2), run_dir, min_kill_points=20)


def test_an_overwritten_run(config: Config, tmp_path: Path) -> None:
    """A kill leaves the complete old run or the complete new one; in between the next command completes the new one."""
    expected, runs = train(config, tmp_path / "expected"), tmp_path / "runs"
    run_dir = train(replace(config, seed=config.seed + 1), runs / "run")
    (run_dir / "data").mkdir()
    (run_dir / "data" / "mine").write_text("mine")
    old_id, old_paths = RunFolder(run_dir).read_description_entry(RUN_ID), relative_paths(run_dir)
    with copies_before_operations(runs, tmp_path / "copies") as copies:
        train(config, run_dir, overwrite=True)
    kills: Counter[str] = Counter()
    for copy in copies:
        run_copy = copy / "run"
        is_missing = not run_copy.exists()
        is_old = RunFolder(run_copy).read_description_entry(RUN_ID) == old_id
        kills["between the renames" if is_missing else "before" if is_old else "after"] += 1
        if is_old:
            assert relative_paths(run_copy) == old_paths
        train(config, run_copy, overwrite=is_old)
        assert_equal_runs(run_copy, expected)
        assert relative_paths(copy) - {"run"} == {f"run/{path}" for path in relative_paths(run_dir)}
        assert relative_paths(run_dir) == relative_paths(expected) | {"data", "data/mine"}
        shutil.rmtree(copy)
    assert kills["before"] >= 20
    assert kills["between the renames"] >= 2
    assert kills["after"] >= 20
