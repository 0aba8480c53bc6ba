"""`seqlab export`, and `--engine ctranslate2` of translate and score: outputs and errors."""

import json
from pathlib import Path
from typing import Literal

import pytest
from pydantic.dataclasses import dataclass
from reference.random_runs import LETTERS, write_run

from seqlab import registry
from seqlab.export.formats import SETTINGS, ExportFormat
from seqlab.registry import Entry

from .conftest import Command


@pytest.fixture(scope="module")
def check_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lines") / "check.txt"
    path.write_text("".join(f"{letters[i : i + 4]}\n" for letters in LETTERS for i in range(6)), encoding="utf-8")
    return path


def test_export_prints_the_folder_and_reports_the_check_on_standard_error(
    seqlab: Command, run_dir: Path, check_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "model"
    arguments = ["export", run_dir, "--format", "ctranslate2", "--out", out, "--check", check_file]
    result = seqlab(*arguments, "--checkpoint", "20")
    assert (result.status, result.out) == (0, f"{out}\n".encode())
    assert result.err.startswith("fp32: 18 lines: log-probabilities differ by up to ")
    assert json.loads((out / "seqlab.json").read_text())["origin"]["step"] == 20
    repeated = seqlab(*arguments)
    assert (repeated.status, repeated.out) == (2, b"")
    assert "add `--overwrite`" in repeated.err
    assert seqlab(*arguments, "--overwrite").status == 0
    assert json.loads((out / "seqlab.json").read_text())["origin"]["step"] == 10


def test_translate_and_score_with_ctranslate2(seqlab: Command, check_file: Path, tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    missing = seqlab("translate", run_dir, "--engine", "ctranslate2", stdin=b"abc\n")
    assert (missing.status, missing.out) == (2, b"")
    assert "name a file of source lines with `--check`" in missing.err
    assert seqlab("export", run_dir, "--format", "ctranslate2", "--check", check_file).status == 0
    lines = b"abc\n\nde f\x0bg\nabc\n"
    engine = ["--engine", "ctranslate2", "--threads", "1"]
    greedy = ["--beam_size", "1", "--max_length", "12"]
    actual = seqlab("translate", run_dir, *greedy, *engine, stdin=lines)
    expected = seqlab("translate", run_dir, *greedy, "--precision", "fp32", stdin=lines)
    assert actual.status == 0
    assert actual.out == expected.out
    assert actual.out.split(b"\n")[1] == b""
    as_json = seqlab("translate", run_dir, "--json", "--num_hypotheses", "3", *engine, stdin=lines)
    records = [json.loads(line) for line in as_json.out.splitlines()]
    assert [len(record["hypotheses"]) for record in records] == [3, 1, 3, 3]
    score = ["score", run_dir, "--src", check_file, "--tgt", check_file]
    actual, expected = seqlab(*score, *engine), seqlab(*score, "--precision", "fp32")
    assert [float(line) for line in actual.out.split()] == pytest.approx(
        [float(line) for line in expected.out.split()], abs=1e-3
    )


def test_invalid_arguments_are_reported(seqlab: Command, run_dir: Path, other_run_dir: Path) -> None:
    for arguments, message in [
        (["export", run_dir, "--format", "onnx"], "`--format` must be one of ctranslate2, arpa, but is `onnx` instead"),
        (["export", run_dir], "--format"),
        (["export", run_dir, "--format", "ctranslate2", "--quantization", "int4"], "but is `int4` instead"),
        (["translate", run_dir, other_run_dir, "--engine", "ctranslate2"], "ensembles need the engine `torch`"),
        (["translate", run_dir, "--quantization", "int8"], "with torch, use `precision`"),
        (["translate", run_dir, "--engine", "onnx"], "`engine` must be one of torch, ctranslate2"),
    ]:
        result = seqlab(*arguments)
        assert (result.status, result.out) == (2, b"")
        assert message in result.err


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class NoteFormat(ExportFormat):
    """A format with an option whose name all formats use."""

    format: Literal["note"] = "note"
    out: str = ""
    """A note."""


def test_a_format_with_an_option_of_all_formats_fails_only_when_it_is_used(
    seqlab: Command, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._parts["exporter"], "note", Entry("exporter", "note", NoteFormat, "notes", "a test"))
    assert "  note           notes" in seqlab("export", "--help").out.decode()
    refused = seqlab("export", run_dir, "--format", "note")
    assert (refused.status, refused.out) == (2, b"")
    assert "The exporter 'note' has the option `out`, which all formats have: rename it." in refused.err
    other = seqlab("export", run_dir, "--format", "arpa")
    assert "is not a language model; it " in other.err
