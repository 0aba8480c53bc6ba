"""Lines above `--max_line_bytes` in commands that read text: an empty output line, or an error with the location."""

import json
from pathlib import Path

import pytest
from reference.stored_families import unpack

from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.overrides import config_from_yaml

LONG_LINE = "drei" * 300_000
"""One word, since the models read it once with a higher limit."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the stored runs, and write two files of lines; in `long`, line 2 is too long."""
    folder = unpack(tmp_path_factory.mktemp("stored"))
    (folder / "long").write_text(f"eins\n{LONG_LINE}\nzwei\n", encoding="utf-8")
    (folder / "short").write_text("eins\ndrei\nzwei\n", encoding="utf-8")
    return folder


COMMANDS = {
    "translate": ("runs/gru", "--input", "long"),
    "label": ("runs/gru_labeller", "--input", "long"),
    "generate": ("runs/gru_lm", "--max_length", "3", "--prompts", "long"),
    "score": ("runs/gru_lm", "--tgt", "long"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_lines_above_the_limit_have_an_empty_output(
    seqlab, runs: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(runs)
    argv = (command, *COMMANDS[command])
    plain, as_json, strict = seqlab(*argv), seqlab(*argv, "--json"), seqlab(*argv, "--strict")
    short = seqlab(*(each.replace("long", "short") for each in argv))
    assert (plain.status, as_json.status, strict.status, short.status) == (3, 3, 2, 0)
    assert "1 line(s) exceed 1,048,576 bytes (--max_line_bytes)" in plain.err
    assert "long, line 2" in plain.err
    first, second, third = plain.out.decode().splitlines()
    assert [first, third] == short.out.decode().splitlines()[::2]
    assert second == ("n/a" if command == "score" else "")
    cut = [record.get("truncated", False) for record in map(json.loads, as_json.out.splitlines())]
    assert cut == [False, True, False]
    assert "long, line 2: is longer than 1,048,576 bytes" in strict.err
    assert seqlab(*argv, "--max_line_bytes", "2000000").status == 0


@pytest.mark.parametrize(
    "argv",
    [
        ("evaluate", "short", "--ref", "long"),
        ("evaluate", "long", "--ref", "short"),
        ("distill", "runs/gru", "--src", "long", "--out", "out"),
        ("calibration", "runs/gru", "--src", "short", "--tgt", "long"),
        ("train", "--data.train_src", "long", "--data.train_tgt", "short", "--run_dir", "new"),
        ("train", "--data.train", "long", "--data.documents", "lines", "--run_dir", "new"),
    ],
    ids=lambda argv: f"{argv[0]} {argv[1]}",
)
def test_training_and_evaluation_refuse_lines_above_the_limit(
    seqlab, runs: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    monkeypatch.chdir(runs)
    result = seqlab(*argv)
    assert result.status == 2
    assert "long, line 2: is longer than 1,048,576 bytes" in result.err
    assert not (runs / "new").exists()


def test_runs_of_earlier_versions_have_no_limit(runs: Path) -> None:
    """This also holds if such a run is resumed with its own config file."""
    folder = RunFolder(runs / "runs" / "gru")
    assert config_from_yaml(folder.config_file).data.max_line_bytes == 1 << 20  # type: ignore[attr-defined]
    assert config_from_yaml(folder.config_file, continued=folder).data.max_line_bytes is None  # type: ignore[attr-defined]
    assert read_config(RunFolder(runs / "runs" / "gru")).data.max_line_bytes is None  # type: ignore[attr-defined]
    assert read_config(RunFolder(runs / "runs" / "gru_lm")).data.max_line_bytes is None  # type: ignore[attr-defined]
