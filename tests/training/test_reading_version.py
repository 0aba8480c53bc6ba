"""The version of the reading of files in run.json: kept when a run is resumed, or refused if rows differ."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from reference.tiny_runs import assert_equal_runs, started_by_version_1, with_training

from seqlab.base.reading_notes import FIRST_READING_VERSION, READING_VERSION, ReadingNotes
from seqlab.data.corpus import Corpus
from seqlab.data.parallel_text import note_text
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run
from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.tasks.prediction.examples import read_examples
from seqlab.tasks.translation.task import TranslationTask
from seqlab.training import train
from seqlab.training.resume import refuse_changed_reading

from .conftest import Trained

NOTE = "lines have a no-break space, which is read as a space"


def note_while_reading(monkeypatch: pytest.MonkeyPatch, since: int) -> None:
    """Let the task report a row that is read in another way since a version."""
    prepare = TranslationTask.prepare

    def prepare_with_notes(*arguments: Any) -> Any:
        data = prepare(*arguments)
        notes = ReadingNotes()
        notes.add(NOTE, "train.en, line 3", since=since)
        object.__setattr__(data, "reading", notes)
        return data

    monkeypatch.setattr(TranslationTask, "prepare", prepare_with_notes)


def test_a_new_run_records_the_version(translator: Trained) -> None:
    assert json.loads((translator[1] / "run.json").read_text("utf-8"))["reading"] == READING_VERSION
    assert load_run(translator[1]).reading == READING_VERSION


def test_an_older_run_keeps_its_version_when_it_is_resumed(translator: Trained, run_dir: Path, tmp_path: Path) -> None:
    longer = with_training(translator[0], max_steps=14)
    uninterrupted = train(longer, shutil.copytree(run_dir, tmp_path / "uninterrupted"))
    started_by_version_1(run_dir)
    assert load_run(run_dir).reading == FIRST_READING_VERSION
    assert_equal_runs(train(longer, run_dir), uninterrupted)
    assert load_run(run_dir).reading == FIRST_READING_VERSION


def test_an_older_run_with_rows_that_are_read_differently_is_refused(
    translator: Trained, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = with_training(translator[0], max_steps=14)
    started_by_version_1(run_dir)
    before = (run_dir / "run.json").read_bytes()
    note_while_reading(monkeypatch, since=READING_VERSION)
    with pytest.raises(ValueError, match=rf"read some .* differently: 1 {NOTE} \(the first: train.en, line 3\)"):
        train(longer, run_dir)
    assert (run_dir / "run.json").read_bytes() == before
    train(longer, run_dir, overwrite=True)


def quotation_mark_in_a_table(folder: Path) -> ReadingNotes:
    path = folder / "t.tsv"
    path.write_text("x\ty\n" + "".join(f'"{i}\t{i}\n' for i in range(9)), "utf-8")
    return read_examples(PredictionConfig(train=[str(path)], target=["y"]), [str(path)]).reading


def quotation_marks_in_a_column(folder: Path) -> ReadingNotes:
    (folder / "t.tsv").write_text('x\ty\n"a"\tb\n', "utf-8")
    return note_text([Corpus.from_specs(f"{folder}/t.tsv#x")])


def hidden_image(folder: Path) -> ReadingNotes:
    return images(folder, "RGB", hidden=True)


def transparent_image(folder: Path) -> ReadingNotes:
    return images(folder, "RGBA")


def images(folder: Path, mode: str, *, hidden: bool = False) -> ReadingNotes:
    for number, name in enumerate(["cat/a.png", "dog/a.png", *(["dog/.b.png"] if hidden else [])]):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new(mode, (3, 3), (number, 0, 0, 0)[: len(mode)]).save(folder / name)
    return read_examples(PredictionConfig(train=[str(folder)]), [str(folder)]).reading


def bytes_in_an_array(folder: Path) -> ReadingNotes:
    np.savez(folder / "a.npz", x=np.ones((2, 3)), y=np.array([b"cat", b"dog"]))
    return read_examples(PredictionConfig(train=[f"{folder}/a.npz"]), [f"{folder}/a.npz"]).reading


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (quotation_mark_in_a_table, r"9 rows have a cell that starts with a quotation mark, .*t\.tsv, line 2"),
        (quotation_marks_in_a_column, r"1 cells are in quotation marks, which were removed .*t\.tsv, line 2"),
        (hidden_image, r"1 hidden images were left out .*dog/\.b\.png"),
        (transparent_image, r"2 transparent images were put on white .*cat/a\.png"),
        (bytes_in_an_array, r"2 targets of bytes were read as text .*a\.npz"),
    ],
)
def test_each_reader_names_the_rows_that_an_older_run_read_differently(
    read: Callable[[Path], ReadingNotes], message: str, run_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    notes = read(tmp_path / "data")
    refuse_changed_reading(RunFolder(run_dir), notes)
    started_by_version_1(run_dir)
    with pytest.raises(ValueError, match=rf"read some of its data differently: {message}"):
        refuse_changed_reading(RunFolder(run_dir), notes)


def test_a_current_run_with_such_rows_is_resumed(
    translator: Trained, run_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    note_while_reading(monkeypatch, since=READING_VERSION)
    caplog.set_level("INFO")
    train(with_training(translator[0], max_steps=14), run_dir)
    assert f"1 {NOTE} (the first: train.en, line 3)" in caplog.text


def test_notes_are_counted_by_kind_and_stored_as_json() -> None:
    notes = ReadingNotes()
    notes.add("images were turned", "a.jpg", since=2)
    notes.add("images were turned", "b.jpg", since=2)
    notes.add("hidden files were left out", "c", count=3)
    expected = ["2 images were turned (the first: a.jpg)", "3 hidden files were left out (the first: c)"]
    assert notes.lines() == expected
    assert ReadingNotes.from_json(json.loads(json.dumps(notes.to_json()))).lines() == expected
    assert [note.text for note in notes.changes_after(1)] == ["images were turned"]
    assert notes.changes_after(2) == []


def test_an_older_run_reads_the_spaces_of_sources_as_before(translator: Trained, run_dir: Path) -> None:
    """Its config.yaml has no `data.src_spaces`."""
    config, folder = translator[0], RunFolder(run_dir)
    assert load_run(run_dir).src_tokenizer.has_single_spaces
    assert load_run(run_dir).src_tokenizer.normalize("ไป\u200bตลาด") == "ไป ตลาด"
    description, text = folder.read_description(), folder.config_file.read_text()
    folder.config_file.write_text("".join(line for line in text.splitlines(True) if "src_spaces" not in line))
    folder.write_description(description)
    train(with_training(config, max_steps=14), run_dir)
    run = load_run(run_dir)
    assert (run.config.data.src_spaces, run.src_tokenizer.has_single_spaces) == ("keep", False)  # type: ignore[attr-defined]
    assert run.src_tokenizer.normalize("ไป\u200bตลาด") == "ไป\u200bตลาด"
    assert run.src_tokenizer.encode(["two\u200b"]) != run.src_tokenizer.encode(["two"])
