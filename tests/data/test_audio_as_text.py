"""Refusal of recordings and lists of recordings as text input."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from system.conftest import run_in_process

from seqlab.base.raw_lines import LineLimit
from seqlab.data.blocks import read_blocks
from seqlab.data.columns import parse_column
from seqlab.data.readers import decode_lines

FORMATS = {"wav": "WAV", "flac": "FLAC", "ogg": "OGG", "mp3": "MP3"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for suffix, kind in FORMATS.items():
        soundfile.write(tmp_path / f"a.{suffix}", np.zeros(16000), 16000, format=kind)
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'a.wav'}\n", encoding="utf-8")
    (tmp_path / "relative.txt").write_text("a.flac\n", encoding="utf-8-sig")
    (tmp_path / "list.jsonl").write_text(json.dumps({"audio": "a.wav", "text": "one"}) + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "name", [*(f"a.{suffix}" for suffix in FORMATS), "list.txt", "relative.txt", "list.jsonl#audio"]
)
def test_training_on_recordings_as_text_is_refused(name: str, folder: Path) -> None:
    (folder / "b.txt").write_text("x\n" * 40, encoding="utf-8")
    for options in (["--data.train", name], ["--data.train_src", name, "--data.train_tgt", "b.txt"]):
        arguments = [str(folder / each) if "." in each and not each.startswith("--") else each for each in options]
        status, done = run_in_process("train", *arguments, "--run_dir", folder / "run")
        assert status == 2
        assert "this input must be text: `seqlab transcribe RUN" in done.stderr.decode()
        assert not (folder / "run").exists()


def test_a_list_of_recordings_without_data_kind_is_refused(folder: Path) -> None:
    status, done = run_in_process("train", "--data.train", folder / "list.jsonl", "--run_dir", folder / "run")
    assert status == 2
    assert "use `data.kind: transcription` for recordings with their transcripts" in done.stderr.decode()


@pytest.mark.parametrize("name", ["a.wav", "list.txt"])
def test_commands_on_text_refuse_recordings(name: str, folder: Path) -> None:
    with (folder / name).open("rb") as stream, pytest.raises(ValueError, match="this input must be text"):
        list(decode_lines(stream, "standard input"))


@pytest.mark.parametrize("size", [b"\x0aX\x01\x00", b"\x24\x0a\x00\x00", b"\x24\x08\x0a\x0a"])
def test_recordings_with_a_newline_byte_in_their_header_are_refused(size: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(b"RIFF" + size + b"WAVEfmt " + bytes(100))
    with path.open("rb") as stream, pytest.raises(ValueError, match="this input must be text"):
        list(decode_lines(stream, "standard input"))
    with pytest.raises(ValueError, match="this input must be text"):
        list(read_blocks(path, 100, LineLimit()))


def test_text_that_starts_like_a_recording_is_accepted() -> None:
    for lines in ([b"RIFF\n", b"a\n"], [b"RIFF\n"], [b"ID3\n", b"b"]):
        assert list(decode_lines(lines, "x")) == [line.decode().removesuffix("\n") for line in lines]


@pytest.mark.parametrize("first", [b"ID3 tags\n", b"FORM 27b: sign here\n", b"a\n"])
def test_a_line_is_yielded_before_the_next_is_read(first: bytes) -> None:
    """Interactive programs write one line and wait for its output."""

    def lines() -> Iterator[bytes]:
        yield first
        raise AssertionError("the next line was read")

    assert next(decode_lines(lines(), "x")) == first.decode().rstrip("\n")


def test_text_that_mentions_recordings_is_accepted(folder: Path) -> None:
    texts = ["missing.wav", "see a.wav", "a.wav is loud"]
    (folder / "t.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    assert list(parse_column(str(folder / "t.txt")).values()) == texts
    assert list(parse_column(f"{folder / 'list.jsonl'}#text").values()) == ["one"]
