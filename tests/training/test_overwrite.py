"""Creating and overwriting run folders: interrupted and refused commands change neither runs nor other files."""

import errno
import logging
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_runs import (
    assert_equal_runs,
    tiny_config,
    with_training,
)

from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.folder import RunFolder
from seqlab.text import CharactersConfig, SentencePieceBpeConfig, train_tokenizer
from seqlab.training import train
from seqlab.training.locked_folder import exclusive_lock
from seqlab.training.run_setup import finish_overwrite, remove_if_rejected, set_aside_old_run

from .conftest import Trained, read_files, with_16_steps


def test_overwriting_starts_from_scratch_and_keeps_the_data_folder(
    translator: Trained, run_dir: Path, tmp_path: Path
) -> None:
    (run_dir / "data").mkdir()
    (run_dir / "data" / "kept").write_text("a recipe's")
    (run_dir / "failures").mkdir()
    config = replace(with_training(translator[0], max_steps=4), seed=5)
    train(config, run_dir, overwrite=True)
    assert_equal_runs(run_dir, train(config, tmp_path / "fresh"))
    assert (run_dir / "data" / "kept").exists()
    assert not (run_dir / "failures").exists()
    train(config, tmp_path / "new", overwrite=True)  # also without an existing run


def test_refused_new_runs_leave_no_files(translator: Trained, tmp_path: Path) -> None:
    """The tokenizer was trained already and is removed; existing files stay."""
    refused = replace(translator[0], data=replace(translator[0].data, max_length=1))
    with pytest.raises(ValueError, match="No pair is left for `train`"):
        train(refused, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old" / "data").mkdir(parents=True)
    with pytest.raises(ValueError, match="No pair is left for `train`"):
        train(refused, tmp_path / "old")
    assert (tmp_path / "old" / "data").is_dir()


def test_overwriting_in_a_restartable_torchrun_job_needs_a_job_id(
    translator: Trained, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each restart would delete the training of the job itself."""
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(ValueError, match="`--rdzv_id NAME`"):
        train(translator[0], run_dir, overwrite=True)
    train(translator[0], run_dir)  # without `overwrite` a restart resumes the run
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "tonight")
    train(translator[0], run_dir, overwrite=True)


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [(ValueError("refused"), False), (FileNotFoundError(errno.ENOENT, "x"), False), (OSError(errno.ENOSPC, "x"), True)],
)
def test_prepared_files_are_removed_only_if_the_command_is_refused(
    error: Exception, is_kept: bool, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")

    def fail() -> None:
        with remove_if_rejected(folder):
            (folder.path / "cache.tmp").mkdir(parents=True)
            raise error

    with pytest.raises(type(error)):
        fail()
    assert (folder.path / "cache.tmp").is_dir() == is_kept
    assert folder.path.exists() == is_kept


def test_a_refused_command_keeps_the_run_of_another_process(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with ExitStack() as other_process:

        def refuse() -> None:
            with remove_if_rejected(folder):
                other_process.enter_context(exclusive_lock(folder))  # the other process got the lock first
                raise ValueError("refused")

        with pytest.raises(ValueError, match="refused"):
            refuse()
        assert folder.path.is_dir()


def test_a_folder_with_checkpoints_but_no_run_json_is_refused(translator: Trained, run_dir: Path) -> None:
    (run_dir / "run.json").unlink()
    assert checkpoint_steps(run_dir / "checkpoints")
    with pytest.raises(ValueError, match=r"is not a run folder, but contains checkpoints: .* `--overwrite`"):
        train(translator[0], run_dir)
    train(translator[0], run_dir, overwrite=True)
    assert_equal_runs(run_dir, translator[1])


def test_an_interrupted_setup_is_repeated(translator: Trained, tmp_path: Path) -> None:
    """Also if its tokenizer was trained for another config."""
    run_dir = tmp_path / "run"
    for name in ("src_tokenizer", "tokenizer"):
        train_tokenizer(CharactersConfig(), ["abc"]).save(run_dir / name)
    (run_dir / "cache.tmp").mkdir()
    for name in ("run.json.tmp", "config.yaml.tmp", "metrics.jsonl"):
        (run_dir / name).write_text("half")
    train(translator[0], run_dir)
    assert_equal_runs(run_dir, translator[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 1}, "No pair is left"),
        ({"tokenizer": SentencePieceBpeConfig(vocab_size=262)}, "`vocab_size` must be at least"),
        ({"train_src": ["missing.en"]}, r"missing\.en"),
    ],
)
def test_a_run_is_overwritten_only_if_the_new_one_can_start(
    translator: Trained, run_dir: Path, changes: dict[str, Any], message: str
) -> None:
    before = read_files(run_dir)
    impossible = replace(translator[0], data=replace(translator[0].data, **changes))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(impossible, run_dir, overwrite=True)
    assert read_files(run_dir) == before


@pytest.mark.parametrize("point", range(12))
def test_interrupted_overwriting_is_undone(run_dir: Path, monkeypatch: pytest.MonkeyPatch, point: int) -> None:
    """Interrupted at any rename, while the old run is set aside or restored."""
    before, renames = read_files(run_dir), iter(range(100))
    rename = Path.rename

    def rename_until_killed(*arguments: Any) -> Any:
        if next(renames) >= point:
            raise KeyboardInterrupt
        return rename(*arguments)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Path, "rename", rename_until_killed)
        set_aside_old_run(RunFolder(run_dir))
        finish_overwrite(RunFolder(run_dir))
    if not RunFolder(run_dir).exists():  # the error names the command that restores the run
        with pytest.raises(ValueError, match=r"is not a run folder.* `seqlab train --run_dir .*` restores"):
            RunFolder(run_dir).read_description()
    finish_overwrite(RunFolder(run_dir))
    assert read_files(run_dir) == before


def test_two_processes_cannot_train_in_one_folder(translator: Trained, run_dir: Path) -> None:
    with exclusive_lock(RunFolder(run_dir)), pytest.raises(ValueError, match="another process is training there"):
        train(with_16_steps(translator[0]), run_dir)
    train(with_16_steps(translator[0]), run_dir)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "model.py", "src"])
def test_a_folder_that_is_not_a_run_is_refused_and_not_changed(
    translator: Trained, tmp_path: Path, name: str, overwrite: bool
) -> None:
    for file in (name, "cache/other", "config.yaml"):
        (tmp_path / "other" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "other" / file).write_text("other")
    before = read_files(tmp_path)
    with pytest.raises(ValueError, match=f"is not a run folder, but contains {name}: choose another"):
        train(translator[0], tmp_path / "other", overwrite=overwrite)
    assert read_files(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_as_run_folder_is_refused(translator: Trained, tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "file").write_text("other")
    with pytest.raises(ValueError, match="file is a file: choose another name"):
        train(translator[0], tmp_path / "file", overwrite=overwrite)
    assert (tmp_path / "file").read_text() == "other"


@pytest.mark.parametrize("joint", [True, False])
def test_a_vocabulary_too_large_for_the_text_is_reported_once_per_tokenizer(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, joint: bool
) -> None:
    data = {"tokenizer": SentencePieceBpeConfig(vocab_size=9000), "joint_vocabulary": joint}
    model = {"tied_embeddings": "all" if joint else "decoder"}
    with caplog.at_level(logging.WARNING):
        train(tiny_config(corpus, data=data, model=model, max_steps=1), tmp_path / "run")
    assert caplog.text.count("fewer than the `vocab_size` of 9000") == (1 if joint else 2)
