"""Files of folders: hidden files, files of other kinds, links and nested folders, for images and recordings alike."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqlab.audio.containers import AUDIO_SUFFIXES
from seqlab.data.arrays import source_to_hash
from seqlab.data.folders import is_hidden
from seqlab.data.images import IMAGE_SUFFIXES
from seqlab.data.manifests import open_manifest
from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.tasks.prediction.examples import read_examples

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(1)
Reader = Callable[[Path], list[tuple[str, str]]]


def read_images(folder: Path) -> list[tuple[str, str]]:
    """Read a folder of images: the class and the name of each, and the notes."""
    raw = read_examples(PredictionConfig(train=[str(folder)], predicts="class"), [str(folder)])
    assert source_to_hash(str(folder)).sha256()
    rows = [Path(raw.table.locate(row)) for row in range(len(raw))]
    names = {code: name for name, code in raw.table.columns["class"].names.items()}
    classes = [names[code] for code in raw.table.columns["class"].categories().tolist()]
    return [*zip(classes, (row.name for row in rows), strict=True), *(("note", line) for line in raw.reading.lines())]


@pytest.fixture
def read_recordings(caplog: pytest.LogCaptureFixture) -> Reader:
    def read(folder: Path) -> list[tuple[str, str]]:
        """Read a folder of recordings: the label and the name of each, and the warnings."""
        caplog.clear()
        entries = list(open_manifest(str(folder), in_folders=True).entries())
        notes = [record.getMessage().partition(f"{folder}: ")[2] for record in caplog.records]
        return [*((str(each.text), Path(each.audio).name) for each in entries), *(("note", line) for line in notes)]

    return read


def add_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (4, 4)).astype(np.uint8)).save(path)


def add_recording(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.sin(np.arange(800) * 0.3) / 2, 8000)


@pytest.fixture(params=["png", "wav"])
def kind(request: pytest.FixtureRequest, tmp_path: Path, read_recordings: Reader) -> tuple[str, Path, Callable, Reader]:
    """Return a suffix, a folder with two classes of two files each, a function that adds a file, and a reader."""
    suffix = request.param
    add, read = (add_image, read_images) if suffix == "png" else (add_recording, read_recordings)
    for label in ("cat", "dog"):
        for name in ("1", "2"):
            add(tmp_path / "data" / label / f"{name}.{suffix}")
    return suffix, tmp_path / "data", add, read


def four(suffix: str) -> list[tuple[str, str]]:
    return [(label, f"{name}.{suffix}") for label in ("cat", "dog") for name in ("1", "2")]


HIDDEN = [
    ".ipynb_checkpoints",
    ".git",
    "cat/.ipynb_checkpoints",
    "__MACOSX",
    "__MACOSX/cat",
    "lost+found",
    "@eaDir/cat",
    "$RECYCLE.BIN",
    "cat/.old/older",
    "cat/old~",
]


@pytest.mark.parametrize(
    "name", [*(f"{name}/1.{{}}" for name in HIDDEN), "System Volume Information/1.{}", "cat/.1.{}"]
)
def test_hidden_files_are_no_data(kind: tuple[str, Path, Callable, Reader], name: str) -> None:
    suffix, folder, add, read = kind
    add(folder / name.format(suffix))
    *files, (_, note) = read(folder)
    assert files == four(suffix)
    hidden = folder / next(part for part in Path(name.format(suffix)).parts if is_hidden(part))
    assert "left out (the first: " in note
    assert hidden.name in note


@pytest.mark.parametrize(
    "name", ["cat/._1.{}", "cat/.DS_Store", ".DS_Store", "cat/Thumbs.db", "desktop.ini", "dog/1.{}~"]
)
def test_files_of_systems_are_no_data(kind: tuple[str, Path, Callable, Reader], name: str) -> None:
    suffix, folder, _, read = kind
    (folder / name.format(suffix)).write_bytes(b"\0\5\x16\7 not data")
    *files, (_, note) = read(folder)
    assert files == four(suffix)
    assert "left out (the first: " in note


def test_other_files_are_counted_and_named(kind: tuple[str, Path, Callable, Reader]) -> None:
    suffix, folder, _, read = kind
    for name in ("README", "cat/notes.txt", "cat/a.TXT", "dog/b.xml", "metadata.csv"):
        (folder / name).write_bytes(b"text")
    *files, (_, note) = read(folder)
    assert files == four(suffix)
    assert note.startswith("5 files are not ")
    assert {"2 .txt", "1 without a suffix", "1 .xml", "1 .csv"} == set(
        note.partition("(")[2].partition(")")[0].split(", ")
    )


def test_suffixes_in_upper_case_are_read(kind: tuple[str, Path, Callable, Reader]) -> None:
    suffix, folder, _, read = kind
    (folder / "cat" / f"2.{suffix}").rename(folder / "cat" / f"2.{suffix.upper()}")
    assert read(folder) == [*four(suffix)[:1], ("cat", f"2.{suffix.upper()}"), *four(suffix)[2:]]


@pytest.mark.parametrize("content", ["nothing", "other", "hidden", "folder"])
def test_a_label_without_data_is_refused(kind: tuple[str, Path, Callable, Reader], content: str) -> None:
    suffix, folder, _, read = kind
    (folder / "owl").mkdir()
    name = {"other": "1.m4a", "hidden": f".1.{suffix}", "folder": "empty"}.get(content)
    if content == "folder":
        (folder / "owl" / "empty").mkdir()
    elif name:
        (folder / "owl" / name).write_bytes(b"data")
    with pytest.raises(
        ValueError, match=rf"owl: has no (images|recordings) .*{'1 .m4a' if content == 'other' else ''}"
    ):
        read(folder)


@pytest.mark.parametrize("name", ["cat/young/1.{}", "1.{}", "train/cat/1.{}"])
def test_data_at_other_depths_are_refused(kind: tuple[str, Path, Callable, Reader], name: str) -> None:
    suffix, folder, add, read = kind
    add(folder / name.format(suffix))
    with pytest.raises(
        ValueError, match=rf"{name.format(suffix)}: is not in a subfolder of .* for its (class|label): "
    ):
        read(folder)


def test_splits_are_no_labels(kind: tuple[str, Path, Callable, Reader]) -> None:
    _, folder, _, read = kind
    (folder / "cat").rename(folder / "train")
    (folder / "dog").rename(folder / "Valid")
    with pytest.raises(
        ValueError, match=r"Valid and .*train: the name of a split is not a (class|label): name the folder"
    ):
        read(folder)


def test_links_are_followed_once(kind: tuple[str, Path, Callable, Reader]) -> None:
    suffix, folder, add, read = kind
    add(folder.parent / "elsewhere" / f"3.{suffix}")
    (folder / "owl").symlink_to(folder.parent / "elsewhere")
    (folder / "dog" / f"3.{suffix}").symlink_to(folder.parent / "elsewhere" / f"3.{suffix}")
    (folder / "cat" / "all").symlink_to(folder)
    found = read(folder)
    assert found[:6] == [*four(suffix), ("dog", f"3.{suffix}"), ("owl", f"3.{suffix}")]
    looped = folder / "cat" / "all"
    assert found[6] == ("note", f"1 links to a folder that contains them were left out (the first: {looped})")


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_links_beside_the_classes_to_a_folder_above_are_left_out(
    kind: tuple[str, Path, Callable, Reader], target: str
) -> None:
    suffix, folder, add, read = kind
    add(folder.parent / f"beside.{suffix}")
    (folder / "self").symlink_to(target)
    *files, note = read(folder)
    assert files == four(suffix)
    assert note == ("note", f"1 links to a folder that contains them were left out (the first: {folder / 'self'})")


def test_a_link_within_a_class_to_another_is_named(kind: tuple[str, Path, Callable, Reader]) -> None:
    _, folder, _, read = kind
    (folder / "dog" / "loop").symlink_to("../cat")
    with pytest.raises(ValueError, match=rf"dog/loop/1\.\w+: is not in a subfolder .* \({folder}/dog/loop is a link"):
        read(folder)


def test_pipes_are_not_read(kind: tuple[str, Path, Callable, Reader]) -> None:
    suffix, folder, _, read = kind
    os.mkfifo(folder / "cat" / f"3.{suffix}")
    *files, (_, note) = read(folder)
    assert files == four(suffix)
    assert note.startswith("1 pipes and devices were left out")


def test_a_broken_link_to_an_image_is_an_error(tmp_path: Path) -> None:
    add_image(tmp_path / "data" / "cat" / "1.png")
    add_image(tmp_path / "data" / "dog" / "1.png")
    (tmp_path / "data" / "cat" / "2.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(FileNotFoundError, match=r"2\.png: there is no such file"):
        read_images(tmp_path / "data")


def test_recordings_to_label_need_no_subfolders(tmp_path: Path) -> None:
    for name in ("2.wav", "1.wav", ".3.wav"):
        add_recording(tmp_path / "new" / name)
    entries = open_manifest(str(tmp_path / "new"), in_folders=True, needs_labels=False).entries()
    assert [(Path(each.audio).name, each.text) for each in entries] == [("1.wav", None), ("2.wav", None)]
    add_recording(tmp_path / "new" / "more" / "1.wav")
    with pytest.raises(ValueError, match=r"new: has recordings at different depths"):
        list(open_manifest(str(tmp_path / "new"), in_folders=True, needs_labels=False).entries())


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".jfif", ".avif", ".TIF"])
def test_other_suffixes_of_images_are_read(tmp_path: Path, suffix: str) -> None:
    for label in ("cat", "dog"):
        add_image(tmp_path / "data" / label / f"1{suffix}")
    assert [each[1] for each in read_images(tmp_path / "data")[:2]] == [f"1{suffix}"] * 2


def test_the_hash_of_a_folder_depends_on_its_data_alone(tmp_path: Path) -> None:
    add_image(tmp_path / "data" / "cat" / "1.png")
    before = source_to_hash(str(tmp_path / "data")).sha256()
    (tmp_path / "data" / "cat" / ".1.png").write_bytes(b"hidden")
    (tmp_path / "data" / "notes.txt").write_bytes(b"text")
    add_image(tmp_path / "data" / "1.png")
    assert source_to_hash(str(tmp_path / "data")).sha256() == before
    add_image(tmp_path / "data" / "cat" / "2.png")
    assert source_to_hash(str(tmp_path / "data")).sha256() != before


def test_suffixes_of_images_and_recordings_differ() -> None:
    assert not set(IMAGE_SUFFIXES) & set(AUDIO_SUFFIXES)
