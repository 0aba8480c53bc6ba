"""Two renames let a new run take the path of an old one: killed at any step, the new one is complete afterwards."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqlab.base.atomic_io import folder_lock
from seqlab.runs.folder import RunFolder
from seqlab.runs.overwriting import new_path, old_path, recover, remove_new, remove_overwritten, swap

OPERATIONS = ("replace", "unlink", "rmdir")


class Killed(BaseException):
    """Stands for a kill: no `finally` of the tested functions changes the folders."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return an old run with data, beside a complete new one that has none."""
    run = tmp_path / "run"
    write_run(run, "old")
    (run / "data").mkdir()
    (run / "data" / "train.txt").write_text("data")
    old_path(run).mkdir(parents=True)
    write_run(new_path(run), "new")
    return run


def write_run(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    for file in ("run.json", "config.yaml"):
        (folder / file).write_text(name)


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise `Killed` before one of the operations on folders and files."""
    steps = iter(range(1000))

    def killing(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(steps) == step:
                raise Killed
            return operation(*arguments, **options)

        return call

    for name in OPERATIONS:
        monkeypatch.setattr(os, name, killing(getattr(os, name)))


NEW = {"run.json": "new", "config.yaml": "new", "data/train.txt": "data"}


@pytest.mark.parametrize(
    ("step", "is_missing"), [(0, False), (1, True), (2, True), (3, False), (4, False), (5, False), (6, False)]
)
def test_a_killed_swap_is_completed(run: Path, monkeypatch: pytest.MonkeyPatch, step: int, is_missing: bool) -> None:
    """Killed before either rename, before that of the data, or while the old run is deleted."""
    with monkeypatch.context() as patch:
        kill_at(step, patch)
        with pytest.raises(Killed):
            swap(run)
    assert run.exists() != is_missing
    RunFolder(run).refuse_missing()
    if step == 0:
        assert texts(run)["run.json"] == "old"
        remove_new(run)  # as the next training does, which has locked the run
    else:
        assert NEW.items() <= texts(run).items()
        remove_overwritten(run)
        assert texts(run) == NEW
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_new_data_replace_the_old_ones(run: Path) -> None:
    (new_path(run) / "data").mkdir()
    (new_path(run) / "data" / "other.txt").write_text("other")
    swap(run)
    assert texts(run.parent) == {"run/run.json": "new", "run/config.yaml": "new", "run/data/other.txt": "other"}


def test_a_symbolic_link_stays_and_its_target_is_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link"
    link.symlink_to(Path("..") / "run")
    swap(link)
    assert link.is_symlink()
    assert texts(link) == texts(run) == NEW
    assert [path.name for path in link.parent.iterdir()] == ["link"]


def test_a_swap_of_another_process_is_not_disturbed(run: Path) -> None:
    """Between its renames, only the process with the lock may complete them."""
    run.rename(old_path(run))
    with folder_lock(new_path(run), wait=False):
        recover(run)
        assert not run.exists()
    recover(run)
    assert NEW.items() <= texts(run).items()


@pytest.mark.parametrize("name", ["run.new", "run.new/overwritten/run.new", "run.new/overwritten"])
def test_runs_that_a_user_has_named_so_are_kept(tmp_path: Path, name: str) -> None:
    """A run `run.new`, also one that has itself just overwritten another one."""
    write_run(tmp_path / "run.new", "mine")
    (tmp_path / name).mkdir(parents=True, exist_ok=True)
    write_run(tmp_path / name, "mine")
    before = texts(tmp_path)
    recover(tmp_path / "run")
    remove_new(tmp_path / "run")
    assert texts(tmp_path) == before


@pytest.mark.parametrize("is_run", [False, True])
def test_a_folder_of_a_user_with_the_same_name_is_kept(tmp_path: Path, is_run: bool) -> None:
    (tmp_path / "overwritten" / "notes").mkdir(parents=True)
    if is_run:
        write_run(tmp_path, "run")
    remove_overwritten(tmp_path)
    assert (tmp_path / "overwritten" / "notes").is_dir()
