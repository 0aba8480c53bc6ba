"""Creating and overwriting run folders: interrupted and refused commands change neither runs nor other files."""

import errno
import logging
import re
import shutil
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_runs import (
    assert_equal_runs,
    tiny_config,
    with_training,
)

from seqlab.base.atomic_io import write_bytes
from seqlab.base.world import SINGLE_PROCESS
from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.folder import RUN_ID, RunFolder
from seqlab.text import CharactersConfig, SentencePieceBpeConfig, train_tokenizer
from seqlab.training import train
from seqlab.training.locked_folder import LostFolder, exclusive_lock, lock_run_folder
from seqlab.training.run_setup import remove_if_rejected

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
    before = read_files(run_dir.parent)
    impossible = replace(translator[0], data=replace(translator[0].data, **changes))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(impossible, run_dir, overwrite=True)
    assert read_files(run_dir.parent) == before
    assert [path.name for path in run_dir.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
@pytest.mark.parametrize("function", ["load_codecs_for", "write_run_json"])
def test_an_interrupted_overwriting_leaves_the_old_run(
    translator: Trained, run_dir: Path, monkeypatch: pytest.MonkeyPatch, function: str, error: BaseException
) -> None:
    def fail(*arguments: Any) -> None:
        assert run_dir.with_name("run.new").is_dir()
        raise error

    before = read_files(run_dir.parent)
    monkeypatch.setattr(import_module("seqlab.training.train"), function, fail)
    with pytest.raises(type(error)):
        train(translator[0], run_dir, overwrite=True)
    assert read_files(run_dir.parent) == before
    assert [path.name for path in run_dir.parent.iterdir()] == ["run"]


def test_a_run_is_overwritten_through_a_symbolic_link(translator: Trained, run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link"
    link.symlink_to(run_dir)
    old_id = RunFolder(run_dir).read_description_entry(RUN_ID)
    train(translator[0], link, overwrite=True)
    assert link.is_symlink()
    assert RunFolder(run_dir).read_description_entry(RUN_ID) != old_id
    assert_equal_runs(run_dir, translator[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["links", "run"]


def test_a_run_that_cannot_be_renamed_is_refused_before_the_set_up(
    translator: Trained, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_files(run_dir.parent)
    with monkeypatch.context() as patch:
        patch.chdir(run_dir / "checkpoints")
        with pytest.raises(ValueError, match="the current folder: start the command from another one"):
            train(translator[0], run_dir, overwrite=True)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_mount", lambda path: path == run_dir)
        with pytest.raises(ValueError, match="is a mount point, which `--overwrite` cannot rename"):
            train(translator[0], run_dir, overwrite=True)
    assert read_files(run_dir.parent) == before
    new = run_dir.with_name("run.new")
    shutil.copytree(run_dir, new)
    with pytest.raises(ValueError, match=r"sets up the new run in .*run\.new, which exists: move it away"):
        train(translator[0], run_dir, overwrite=True)
    assert read_files(run_dir) == read_files(new)


def test_two_processes_cannot_overwrite_one_run(translator: Trained, run_dir: Path) -> None:
    """Also if one has opened the folder before the other has replaced it."""
    with lock_run_folder(RunFolder(run_dir), SINGLE_PROCESS, lambda folder: True) as locked_folder:
        write_bytes(locked_folder.root.description_file, b"{}")
        with pytest.raises(ValueError, match="another process is training there"):
            train(translator[0], run_dir, overwrite=True)
        locked_folder.take_path(SINGLE_PROCESS)
        with pytest.raises(ValueError, match="another process is training there"):
            train(translator[0], run_dir, overwrite=True)


def test_a_run_that_was_moved_during_the_set_up_is_not_overwritten(translator: Trained, run_dir: Path) -> None:
    moved = run_dir.with_name("moved")
    with lock_run_folder(RunFolder(run_dir), SINGLE_PROCESS, lambda folder: True) as locked_folder:
        run_dir.rename(moved)
        run_dir.mkdir()
        with pytest.raises(LostFolder, match=f"{run_dir} is another folder now. The run is in {moved}"):
            locked_folder.take_path(SINGLE_PROCESS)
    assert sorted(path.name for path in run_dir.parent.iterdir()) == ["moved", "run"]
    assert_equal_runs(moved, translator[1])


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


def test_a_run_with_files_of_a_user_is_refused_by_its_path(translator: Trained, run_dir: Path) -> None:
    (run_dir / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=re.escape(f"`run_dir` {run_dir} contains notes.txt")):
        train(translator[0], run_dir, overwrite=True)
    assert (run_dir / "notes.txt").read_text() == "mine"


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
