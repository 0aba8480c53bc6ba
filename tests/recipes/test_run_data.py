"""Generated data of recipes: kept by existing runs, generated again by `--overwrite`."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from reference.tiny_runs import tiny_config, write_numbers

from seqlab.cli.train_config import training_config
from seqlab.recipes import RECIPES
from seqlab.recipes.run_data import generated_data, without_generating
from seqlab.runs.config import Config, write_config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.overrides import override
from seqlab.training import train


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
def test_training_generates_data_once(tmp_path: Path, overwrite: bool) -> None:
    calls: list[Path] = []

    def recipe(run_dir: Path) -> Config:
        return tiny_config(
            generated_data(run_dir, lambda folder: (calls.append(folder), write_numbers(folder, range(50)))),
            max_steps=2,
        )

    run_dir = tmp_path / "run"
    if overwrite:
        train(OLD, run_dir)
    train(recipe, run_dir, overwrite=overwrite)
    assert len(calls) == 1
    write_numbers(tmp_path / "expected", range(50))
    assert read_data(run_dir) == {path.name: path.read_bytes() for path in (tmp_path / "expected").iterdir()}
    assert read_config(RunFolder(run_dir)) == recipe(run_dir)  # paths of the final folder
    train(recipe, run_dir)
    assert len(calls) == 1


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
    folder = tmp_path / "run"
    if not is_new:
        write_config(override(RECIPES["number_tones"](folder), overrides), RunFolder(folder).config_file)
        RunFolder(folder).write_description({})
    config = training_config("number_tones", overrides, tmp_path / "run")
    assert config.model.family == "recognizer"
    assert len(calls) == 1


def test_refused_overwriting_restores_the_data(tmp_path: Path) -> None:
    run_dir = train(OLD, tmp_path / "run")
    before = read_data(run_dir)
    with pytest.raises(ValueError, match="No pair is left"):
        train(recipe_of(range(100, 160), max_length=1), run_dir, overwrite=True)
    assert read_data(run_dir) == before
    train(OLD, run_dir)


def test_refused_overwriting_leaves_no_new_files(tmp_path: Path) -> None:
    """Generated data are removed; checkpoints are kept, even without run.json."""
    write_numbers(tmp_path / "corpus", range(1, 40))
    run_dir = train(tiny_config(tmp_path / "corpus", max_steps=2), tmp_path / "run")
    for description in ("run.json", None):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ValueError, match="No pair is left"):
            train(recipe_of(range(100, 160), max_length=1), run_dir, overwrite=True)
        assert sorted(tmp_path.rglob("*")) == before
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
