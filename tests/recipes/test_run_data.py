"""Generated data of recipes: kept by existing runs, generated again by `--overwrite`, restored after interruptions."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from reference.shared import SharedFolder
from reference.tiny_runs import tiny_config, write_numbers

from seqlab.cli.train_config import checked_config
from seqlab.recipes import RECIPES
from seqlab.recipes.run_data import generated_data, staged_data, without_generating
from seqlab.runs.config import Config, write_config
from seqlab.runs.folder import RunFolder
from seqlab.runs.overrides import override
from seqlab.training import train
from seqlab.training.run_setup import finish_overwrite, set_aside_old_run


def recipe_of(numbers: range, max_length: int = 100) -> Callable[[Path], Config]:
    """Return a recipe that generates a corpus of these numbers; a `max_length` of 1 makes training refuse it."""

    def recipe(run_dir: Path) -> Config:
        folder = generated_data(run_dir, lambda folder: write_numbers(folder, numbers))
        config = tiny_config(folder, max_steps=2)
        return replace(config, data=replace(config.data, max_length=max_length))

    return recipe


OLD, NEW = recipe_of(range(1, 40)), recipe_of(range(100, 160))


def read_data(run_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run_dir / "data").iterdir()}


@pytest.fixture(scope="module")
def old_run(shared: SharedFolder) -> Path:
    """Train a run of `OLD`. It must be copied to be changed."""
    return shared.build("old-run", lambda folder: train(OLD, folder / "run")) / "run"


def test_a_run_keeps_its_data_unless_it_is_overwritten(tmp_path: Path) -> None:
    old, new = train(OLD, tmp_path / "run"), train(NEW, tmp_path / "new")
    before = read_data(old)
    train(NEW, old)  # a changed recipe resumes the run with its old data
    assert read_data(old) == before != read_data(new)
    train(NEW, old, overwrite=True)
    assert read_data(old) == read_data(new)
    hashes = [RunFolder(folder).read_description_entry("data_sha256") for folder in (old, new)]
    assert hashes[0] == hashes[1]
    assert {path.name for path in old.iterdir()} == {path.name for path in new.iterdir()}


@pytest.mark.parametrize("overwrite", [False, True])
def test_staged_data_are_moved_into_the_run_folder(tmp_path: Path, overwrite: bool) -> None:
    calls: list[Path] = []

    def recipe(run_dir: Path) -> Config:
        return tiny_config(
            generated_data(run_dir, lambda folder: (calls.append(folder), write_numbers(folder, range(50)))),
            max_steps=2,
        )

    if overwrite:
        train(OLD, tmp_path / "run")
    with staged_data(tmp_path / "run") as first:
        recipe(first)
        expected = read_data(first)
        train(recipe, tmp_path / "run", overwrite=overwrite)
    assert len(calls) == 1
    assert not first.exists()
    assert read_data(tmp_path / "run") == expected


def test_no_data_are_generated_for_a_config_that_is_only_shown(tmp_path: Path) -> None:
    with without_generating():
        config = OLD(tmp_path / "run")
    assert not list(tmp_path.iterdir())
    assert config == OLD(tmp_path / "run")
    assert read_data(tmp_path / "run")


@pytest.mark.parametrize("is_new", [True, False])
def test_building_a_config_with_another_family_generates_data_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    calls: list[Path] = []

    def write_tones(folder: Path) -> None:
        calls.append(folder)
        folder.mkdir(parents=True)
        (folder / "train.jsonl").write_text("", encoding="utf-8")

    monkeypatch.setattr("seqlab.recipes.speech.write_tones", write_tones)
    overrides = [("model.family", "lstm_recogniser")]
    folder = tmp_path / "first" if is_new else tmp_path / "run"
    if not is_new:
        write_config(override(RECIPES["number_tones"](folder), overrides), RunFolder(folder).config_file)
        RunFolder(folder).write_description({})
    config = checked_config("number_tones", overrides, tmp_path / "run", tmp_path / "first", overwrite=False)
    assert config.model.family == "recognizer"
    assert len(calls) == 1


def test_refused_overwriting_restores_the_data(tmp_path: Path) -> None:
    run_dir = train(OLD, tmp_path / "run")
    before = read_data(run_dir)
    with pytest.raises(ValueError, match="No pair is left"):
        train(recipe_of(range(100, 160), max_length=1), run_dir, overwrite=True)
    assert read_data(run_dir) == before
    train(OLD, run_dir)


@pytest.mark.parametrize("kill_at", range(3))
def test_overwriting_killed_while_generating_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    """Killed at either rename, or after all data are written."""
    run_dir = train(OLD, tmp_path / "run")
    before, folder, renames = read_data(run_dir), RunFolder(run_dir), iter(range(100))

    def rename(old: Path, new: Path) -> None:
        if next(renames) == kill_at:
            raise KeyboardInterrupt
        old.replace(new)

    set_aside_old_run(folder)
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr("seqlab.recipes.run_data.rename", rename)
        NEW(run_dir)
    finish_overwrite(folder)
    assert read_data(run_dir) == before
    train(OLD, run_dir)
    train(NEW, run_dir, overwrite=True)
    assert read_data(run_dir) == read_data(train(NEW, tmp_path / "new"))


@pytest.mark.parametrize("kill_at", range(8))
def test_interrupted_restoring_is_completed(
    old_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    """Killed at any rename of `finish_overwrite`, after new data were generated."""
    run_dir = shutil.copytree(old_run, tmp_path / "run")
    before, names = read_data(run_dir), {path.name for path in run_dir.iterdir()}
    set_aside_old_run(RunFolder(run_dir))
    NEW(run_dir)
    renames, rename = iter(range(100)), Path.rename

    def rename_until_killed(old: Path, new: Path) -> Path:
        if next(renames) == kill_at:
            raise KeyboardInterrupt
        return rename(old, new)

    (run_dir / "data" / "mine.txt").write_text("mine")  # a file that the user added after the interruption
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Path, "rename", rename_until_killed)
        finish_overwrite(RunFolder(run_dir))
    finish_overwrite(RunFolder(run_dir))
    assert read_data(run_dir) == before | {"mine.txt": b"mine"}
    assert {path.name for path in run_dir.iterdir()} == names


def test_refused_overwriting_leaves_no_new_files(tmp_path: Path) -> None:
    """Generated data and temporary files are removed; checkpoints are kept, even without run.json."""
    write_numbers(tmp_path / "corpus", range(1, 40))
    run_dir = train(tiny_config(tmp_path / "corpus", max_steps=2), tmp_path / "run")
    (run_dir / "data.tmp").mkdir()
    for description in ("run.json", None):
        before = sorted(path for path in run_dir.rglob("*") if "data.tmp" not in path.parts)
        with pytest.raises(ValueError, match="No pair is left"):
            train(recipe_of(range(100, 160), max_length=1), run_dir, overwrite=True)
        assert sorted(path for path in run_dir.rglob("*") if "data" not in path.parts) == before
        if description is not None:
            (run_dir / description).unlink()


def test_missing_data_are_generated_again_only_if_they_are_equal(tmp_path: Path) -> None:
    run_dir = train(OLD, tmp_path / "run")
    before = read_data(run_dir)
    shutil.rmtree(run_dir / "data")
    with pytest.raises(ValueError, match=r"data is missing, and this version of seqlab generates other data"):
        train(NEW, run_dir)
    assert not (run_dir / "data").exists()
    train(OLD, run_dir)
    assert read_data(run_dir) == before


def test_overwriting_keeps_foreign_files(tmp_path: Path) -> None:
    run_dir = train(OLD, tmp_path / "run")
    (run_dir / "data" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"data contains mine\.txt, which the recipe does not write"):
        train(NEW, run_dir, overwrite=True)
    assert (run_dir / "data" / "mine.txt").read_text() == "mine"
    train(OLD, run_dir)
