"""Manifests of recordings: the same entries from all formats; errors name the file and line."""

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from seqlab.data.columns import parse_column
from seqlab.data.manifests import open_manifest
from seqlab.inference.recording_lists import is_recording_list

RATE = 8000
TEXTS = ["one two", "three", "and, four"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write three recordings to a folder."""
    for number in range(len(TEXTS)):
        soundfile.write(tmp_path / f"{number}.wav", np.full(RATE // 10 * (number + 1), 0.1), RATE)
    return tmp_path


def rows() -> list[dict[str, Any]]:
    return [{"audio": f"{number}.wav", "text": text, "speaker": f"s{number}"} for number, text in enumerate(TEXTS)]


def write_jsonl(folder: Path) -> Path:
    path = folder / "list.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    return path


def write_array(folder: Path) -> Path:
    path = folder / "list.json"
    path.write_text(json.dumps(rows(), indent=1), encoding="utf-8")
    return path


def write_table(folder: Path, separator: str) -> Path:
    path = folder / ("list.csv" if separator == "," else "list.tsv")
    cells = [["audio", "text", "speaker"], *([row["audio"], row["text"], row["speaker"]] for row in rows())]
    if separator == ",":
        cells = [[f'"{cell}"' for cell in line] for line in cells]
    path.write_text("".join(separator.join(line) + "\n" for line in cells), encoding="utf-8")
    return path


def write_parquet(folder: Path) -> Path:
    import pandas

    path = folder / "list.parquet"
    pandas.DataFrame(rows()).to_parquet(path)
    return path


def write_kaldi(folder: Path) -> Path:
    path = folder / "kaldi"
    path.mkdir()
    files = {
        "wav.scp": [f"u{number} ../{number}.wav" for number in range(len(TEXTS))],
        "text": [f"u{number} {text}" for number, text in enumerate(TEXTS)],
        "utt2spk": [f"u{number} s{number}" for number in range(len(TEXTS))],
    }
    for name, lines in files.items():
        (path / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv", "parquet", "kaldi"])
def test_all_formats_give_the_same_entries(kind: str, folder: Path) -> None:
    writers = {
        "jsonl": write_jsonl,
        "json": write_array,
        "csv": lambda path: write_table(path, ","),
        "tsv": lambda path: write_table(path, "\t"),
        "parquet": write_parquet,
        "kaldi": write_kaldi,
    }
    path = writers[kind](folder)
    found = list(open_manifest(str(path)).entries())
    assert [each.text for each in found] == TEXTS
    assert [each.columns["speaker"] for each in found] == ["s0", "s1", "s2"]
    assert [Path(each.audio).resolve() for each in found] == [folder / f"{number}.wav" for number in range(len(TEXTS))]
    assert all(each.location.startswith(str(path)) for each in found)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.jsonl", '{"audio": "0.wav", "text": "a"}\n\n{"audio": null, "text": "b"}\n{"audio": "", "text": "c"}\n'),
        ("list.csv", "audio,text\n0.wav,a\n\n,b\n,c\n"),
        ("list.tsv", "audio\ttext\n0.wav\ta\n\n\tb\n\tc\n"),
    ],
)
def test_a_blank_line_or_cell_is_an_entry_without_a_recording(name: str, content: str, folder: Path) -> None:
    """Training reports it; commands with one output line per input line write an empty line for it."""
    (folder / name).write_text(content, encoding="utf-8")
    found = list(open_manifest(str(folder / name)).entries())
    assert [(each.audio, each.text) for each in found] == [
        (str(folder / "0.wav"), "a"),
        ("", None),
        ("", "b"),
        ("", "c"),
    ]
    assert list(parse_column(f"{folder / name}#text").values()) == [each.text or "" for each in found]


def test_kaldi_texts_without_a_recording_are_reported_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_kaldi(folder)
    with (path / "text").open("a", encoding="utf-8") as file:
        file.write("u9 unspoken\n")
    for _ in range(2):
        assert len(list(open_manifest(str(path)).entries())) == len(TEXTS)
    assert caplog.text.count("texts without a recording are left out: u9 (1 of 4)") == 1


def test_kaldi_files_may_be_separated_by_tabs(folder: Path) -> None:
    path = write_kaldi(folder)
    expected = [(each.audio, each.text) for each in open_manifest(str(path)).entries()]
    for name in ("wav.scp", "text", "utt2spk"):
        lines = (path / name).read_text(encoding="utf-8").splitlines()
        separated = (line.replace(" ", "\t", 1) for line in lines)
        (path / name).write_text("".join(f"{line}\n" for line in separated), encoding="utf-8")
    assert [(each.audio, each.text) for each in open_manifest(str(path)).entries()] == expected


def test_the_hash_of_a_folder_covers_its_labels(folder: Path) -> None:
    """Renaming a label, or moving a recording to another label, changes the hash and the stamp."""
    for number, label in enumerate(("no", "yes", "yes")):
        (folder / "words" / label).mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.wav").rename(folder / "words" / label / f"{number}.wav")
    words = open_manifest(str(folder / "words"), in_folders=True)
    seen = {(words.sha256(), words.stamp())}
    (folder / "words" / "yes").rename(folder / "words" / "zebra")
    seen.add((words.sha256(), words.stamp()))
    (folder / "words" / "zebra" / "1.wav").rename(folder / "words" / "no" / "1.wav")
    seen.add((words.sha256(), words.stamp()))
    assert len({sha256 for sha256, _ in seen}) == 3
    assert len({stamp for _, stamp in seen}) == 3


def test_tables_are_read_by_the_version_of_the_run(folder: Path) -> None:
    """Version 1 kept the quotation marks around cells of .tsv files."""
    (folder / "a.tsv").write_text('audio\ttext\n0.wav\t"yes"\n1.wav\tno\n', "utf-8")
    quoted, plain = open_manifest(str(folder / "a.tsv")).entries()
    assert (quoted.text, plain.text, plain.notes) == ("yes", "no", {})
    assert quoted.notes == {"rows have cells in quotation marks, which were removed": 2}
    assert [each.text for each in open_manifest(str(folder / "a.tsv"), reading=1).entries()] == ['"yes"', "no"]


def test_kaldi_segments_are_entries_with_times(folder: Path) -> None:
    path = write_kaldi(folder)
    (path / "segments").write_text("a u2 0.05 0.15\nb u2 0.15 0.3\n", encoding="utf-8")
    (path / "text").write_text("a one\nb two\n", encoding="utf-8")
    found = list(open_manifest(str(path)).entries())
    assert [(each.text, each.start, each.end) for each in found] == [("one", 0.05, 0.15), ("two", 0.15, 0.3)]


def test_kaldi_segments_may_name_a_channel(folder: Path) -> None:
    """Kaldi's extract-segments numbers channels from 0."""
    path = write_kaldi(folder)
    (path / "segments").write_text("u0 u2 0.05 0.15 0\nu1 u2 0.05 0.15 1\nu2 u2 0 -1\n", encoding="utf-8")
    assert [each.channel for each in open_manifest(str(path)).entries()] == ["1", "2", ""]
    (path / "segments").write_text("u0 u2 0.05 0.15 A\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"segments, line 1: must have the form .* the number of a channel from 0"):
        list(open_manifest(str(path)).entries())


def test_names_of_subfolders_are_labels(folder: Path) -> None:
    for label in ("yes", "no"):
        (folder / "words" / label).mkdir(parents=True)
        (folder / "words" / label / "a.WAV").write_bytes((folder / "0.wav").read_bytes())
    (folder / "words" / ".git").mkdir()
    (folder / "words" / ".git" / "b.wav").write_bytes(b"")
    (folder / "words" / "no").rename(folder / "elsewhere")
    (folder / "words" / "no").symlink_to(folder / "elsewhere")
    found = list(open_manifest(str(folder / "words"), in_folders=True).entries())
    assert [each.text for each in found] == ["no", "yes"]
    for misplaced in (folder / "words" / "top.wav", folder / "words" / "no" / "deep" / "c.wav"):
        misplaced.parent.mkdir(exist_ok=True)
        misplaced.write_bytes(b"")
        with pytest.raises(ValueError, match=rf"{misplaced}: is not in a subfolder of"):
            list(open_manifest(str(folder / "words"), in_folders=True).entries())
        misplaced.unlink()


def test_an_audio_column_of_a_dataset_is_not_decoded(folder: Path) -> None:
    """Recordings remain encoded bytes."""
    import datasets

    paths = [str(folder / f"{number}.wav") for number in range(len(TEXTS))]
    audio = [{"path": None, "bytes": Path(path).read_bytes()} for path in paths]
    table = datasets.Dataset.from_dict({"audio": audio, "text": TEXTS})
    table = table.cast_column("audio", datasets.Audio(decode=False)).cast_column("audio", datasets.Audio())
    (folder / "set").mkdir()
    table.to_parquet(str(folder / "set" / "train.parquet"))
    for spec in (f"hub:{folder / 'set'}:train", str(folder / "set" / "train.parquet")):
        manifest = open_manifest(spec)
        found = list(manifest.entries())
        assert [each.text for each in found] == TEXTS
        assert [each.content for each in found] == [Path(path).read_bytes() for path in paths]
        assert manifest.sha256() == open_manifest(spec).sha256()


def test_the_hash_covers_the_recordings(folder: Path) -> None:
    path = str(write_jsonl(folder))
    before = open_manifest(path).sha256(), open_manifest(path).stamp()
    soundfile.write(folder / "1.wav", np.full(RATE, 0.2), RATE)
    after = open_manifest(path).sha256(), open_manifest(path).stamp()
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"audio": "0.wav", "text": "a"}\n{"audio"\n', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl, line 1: must be a JSON object"),
        ("a.jsonl", '{"path": "0.wav"}\n', "a.jsonl, line 1: has no column 'audio' of recordings; its columns: path"),
        ("a.jsonl", '{"audio": 7}\n', "line 1: 'audio' must be the path of a recording, but is 7"),
        ("a.jsonl", '{"audio": "0.wav", "start": 2, "end": 1}\n', r"line 1: 'end' \(1\) must be after 'start' \(2\)"),
        ("a.jsonl", '{"audio": "0.wav", "start": "x"}\n', "line 1: 'start' must be a time in seconds"),
        ("a.csv", "audio,text\n0.wav\n", "a.csv, line 2: has 1 cells, but the header names 2"),
        ("a.txt", "0.wav\n", "a.txt: is not a list of recordings: name a .jsonl"),
    ],
)
def test_invalid_manifests_are_refused(name: str, content: str, message: str, folder: Path) -> None:
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        list(open_manifest(str(folder / name)).entries())


def test_invalid_folders_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder without a wav.scp: name its recordings"):
        list(open_manifest(str(folder)).entries())
    (folder / "none").mkdir()
    with pytest.raises(ValueError, match=r"has neither a wav.scp nor a subfolder"):
        list(open_manifest(str(folder / "none"), in_folders=True).entries())
    with pytest.raises(FileNotFoundError, match=r"x\.jsonl"):
        list(open_manifest(str(folder / "x.jsonl")).entries())
    path = write_kaldi(folder)
    (path / "wav.scp").write_text("u0 sox a.wav -t wav - |\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"wav.scp, line 1: a command .* is not executed"):
        list(open_manifest(str(path)).entries())


def write_rows(folder: Path, *records: dict[str, Any], name: str = "rows.jsonl") -> str:
    """Write records as lines of JSON; return the path."""
    (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize(
    ("columns", "segment"),
    [
        ({"offset": 1.5, "duration": 2}, (1.5, 3.5)),  # NeMo
        ({"offset": "1.5", "duration": ""}, (1.5, None)),
        ({"start": 1.5, "duration": 2}, (1.5, 3.5)),
        ({"start": 1.5, "end": 2, "duration": 9}, (1.5, 2)),
        ({"duration": 5.2}, (0, None)),  # of the recording
        ({"offset": None, "duration": 5.2}, (0, None)),
        ({"offset": float("nan"), "duration": 5.2}, (0, None)),
    ],
)
def test_offset_and_duration_are_a_segment(
    columns: dict[str, Any], segment: tuple[float, float | None], folder: Path
) -> None:
    path = write_rows(folder, {"audio_filepath": "0.wav", "text": "one", **columns}, name="nemo.json")
    [entry] = open_manifest(path, "audio_filepath").entries()
    assert (entry.start, entry.end) == segment
    [older] = open_manifest(path, "audio_filepath", reading=1).entries()
    assert (older.start, older.end) == (columns.get("start", 0), columns.get("end"))
    assert bool(entry.notes) == ((older.start, older.end) != segment)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"offset": 1, "start": 1, "end": 2}, "has an 'offset' and a 'start' or 'end': keep one of them"),
        ({"offset": -1, "duration": 2}, "'offset' must be a time in seconds, but is -1"),
        ({"offset": 1, "duration": "2 s"}, "'duration' must be a time in seconds, but is '2 s'"),
        ({"offset": 1, "duration": 0}, "'duration' must be above 0, but is 0"),
        ({"text": ["a", "b"]}, r"'text' must be a text, but is \[\"a\", \"b\"\]"),
    ],
)
def test_contradictory_columns_are_refused(columns: dict[str, Any], message: str, folder: Path) -> None:
    path = write_rows(folder, {"audio": "0.wav", "text": "one"} | columns)
    with pytest.raises(ValueError, match=f"rows.jsonl, line 1: {message}"):
        list(open_manifest(path).entries())


def test_segments_that_are_not_read_are_refused(folder: Path) -> None:
    rows_of_parts = [{"audio": "0.wav", "text": "one", "stop": 800}, {"audio": "0.wav", "text": "two", "stop": 900}]
    with pytest.raises(ValueError, match=r"line 2: names the same recording as .*line 1, but its column 'stop' is not"):
        list(open_manifest(write_rows(folder, *rows_of_parts)).entries())
    others = [{**row, "audio": f"{number}.wav"} for number, row in enumerate(rows_of_parts)]
    assert len(list(open_manifest(write_rows(folder, *others)).entries())) == 2


@pytest.mark.parametrize("name", ["wav.scp", "text", "utt2spk", "segments"])
def test_duplicate_ids_are_refused_with_both_lines(name: str, folder: Path) -> None:
    path = write_kaldi(folder)
    (path / "segments").write_text("".join(f"u{number} u{number} 0 0.1\n" for number in range(3)), "utf-8")
    with (path / name).open("a", encoding="utf-8") as file:
        file.write("\nu1 u2 0 0.1\n")
    with pytest.raises(ValueError, match=rf"{name}, line 5: the id 'u1' is also in line 2: give each line an id"):
        list(open_manifest(str(path)).entries())


def test_duplicate_columns_and_keys_are_refused(folder: Path) -> None:
    (folder / "a.csv").write_text("audio,text,text\n0.wav,one,two\n", "utf-8")
    (folder / "b.jsonl").write_text('{"audio": "0.wav", "text": "one", "text": "two"}\n', "utf-8")
    for name, message in (("a.csv", "line 1: names the column 'text' twice"), ("b.jsonl", "has the key 'text' twice")):
        with pytest.raises(ValueError, match=message):
            list(open_manifest(str(folder / name)).entries())


def test_channels_urls_and_other_texts_are_read_and_noted(folder: Path) -> None:
    url = "https://example.com/a.wav"
    rows_of_texts = ({"audio": url, "text": "one", "sentence": "One.", "channel": 2}, {"audio": "0.wav", "text": "nan"})
    first, second = open_manifest(write_rows(folder, *rows_of_texts)).entries()
    assert (first.audio, first.channel, second.text) == (url, "2", "nan")
    assert dict(first.notes) == {
        "rows have a text in the column 'sentence' as well, which is not used": 1,
        "rows name a channel": 2,
    }
    (folder / "nan.jsonl").write_text('{"audio": "0.wav", "text": NaN}\n', "utf-8")
    [missing] = open_manifest(str(folder / "nan.jsonl")).entries()
    assert missing.text is None


def test_truth_values_are_texts_as_in_tables(folder: Path) -> None:
    path = write_rows(folder, {"audio": "0.wav", "text": True})
    [entry] = open_manifest(path).entries()
    assert [entry.text] == list(parse_column(f"{path}#text").values()) == ["true"]
    assert list(entry.notes.values()) == [2]
    assert [each.text for each in open_manifest(path, reading=1).entries()] == ["True"]


@pytest.mark.parametrize("suffix", ["bz2", "xz", "gz"])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_compressed_lists_are_read_by_the_suffix_before(kind: str, suffix: str, folder: Path) -> None:
    path = write_jsonl(folder) if kind == "jsonl" else write_table(folder, ",")
    packed = path.with_name(f"{path.name}.{suffix}")
    packed.write_bytes({"bz2": bz2, "xz": lzma, "gz": gzip}[suffix].compress(path.read_bytes()))
    assert [entry.text for entry in open_manifest(str(packed)).entries()] == TEXTS
    assert is_recording_list(str(packed))


def test_columns_that_are_not_used_may_hold_dates_and_bytes(folder: Path) -> None:
    import pandas

    times = pandas.to_datetime(["2024-01-31", "2024-02-01", "2024-02-02"])
    pandas.DataFrame([*rows()]).assign(made=times, raw=b"1").to_parquet(folder / "list.parquet")
    entries = list(open_manifest(str(folder / "list.parquet")).entries())
    assert [entry.text for entry in entries] == TEXTS
    assert entries[0].columns["made"] == "2024-01-31 00:00:00"


def test_the_suffix_of_a_list_may_be_in_upper_case(folder: Path) -> None:
    path = write_table(folder, ",").rename(folder / "LIST.CSV")
    assert [entry.text for entry in open_manifest(str(path)).entries()] == TEXTS
