"""Comparison of two versions: ignored differences, reported differences, and failed commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from comparison.compare import DIFFERENT, EQUAL, FAILED, Comparison, Finding
from comparison.plan import with_older_names
from comparison.settings import RENAMED_KEYS, RENAMED_VALUES, Case
from safetensors.numpy import load_file, save_file

CASE = Case("case", {"run": {}}, {"greedy": "translate %run"})
STATUSES = {"case.train_run": 0, "case.greedy": 0}


def write_version(work: Path, kind: str = "parallel") -> Path:
    """Write the working folder of a version."""
    run = work / "runs" / "case" / "run"
    checkpoint = run / "checkpoints" / "step_00000060"
    for folder in (checkpoint, run / "tokenizer", work / "out", work / "files" / "case"):
        folder.mkdir(parents=True)
    save_file({"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}, checkpoint / "model.safetensors")
    (run / "tokenizer" / "tokenizer.model").write_text("a\nb\n")
    (run / "config.yaml").write_text(yaml.safe_dump({"data": {"kind": kind, "max_length": 9}, "seed": 1}))
    lines = ({"kind": "train", "step": 5, "minutes": len(kind), "loss": 2.5}, {"kind": "event", "event": kind})
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (work / "out" / "case.greedy.stdout").write_bytes(b"eins\nzwei\n")
    return work


def compare(before: Path, after: Path, after_statuses: dict[str, int] = STATUSES) -> dict[str, Finding]:
    """Return the findings of two folders by the name of the comparison."""
    found = Comparison(before, after, {"before": STATUSES, "after": after_statuses}).findings(CASE)
    return {finding.compared: finding for finding in found}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Write two versions that differ only in the name of the data kind, in times and in events."""
    monkeypatch.setitem(RENAMED_VALUES, "data.kind", {"parallel": "translation"})
    return write_version(tmp_path / "before"), write_version(tmp_path / "after", "translation")


def test_times_events_and_renamed_values_are_ignored(folders: tuple[Path, Path]) -> None:
    found = compare(*folders)
    assert {finding.outcome for finding in found.values()} == {EQUAL}
    assert {"model tensors", "metrics", "config", "tokenizers", "greedy"} <= found.keys()


@pytest.mark.parametrize(
    ("path", "old", "new", "compared", "reported"),
    [
        ("runs/case/run/metrics.jsonl", "2.5", "2.50001", "metrics", "1: loss: 2.5 before, 2.50001 after"),
        ("runs/case/run/config.yaml", "max_length: 9", "max_length: 8", "config", "data.max_length: 9 before, 8 after"),
        (
            "runs/case/run/config.yaml",
            "translation",
            "text",
            "config",
            "data.kind: translation before, language_modelling after",
        ),
        ("runs/case/run/tokenizer/tokenizer.model", "b", "c", "tokenizers", "tokenizer/tokenizer.model: "),
        ("out/case.greedy.stdout", "zwei", "drei", "greedy", "2: zwei before, drei after"),
    ],
)
def test_the_first_difference_of_a_file_is_reported(
    folders: tuple[Path, Path], path: str, old: str, new: str, compared: str, reported: str
) -> None:
    file = folders[1] / path
    file.write_text(file.read_text().replace(old, new))
    found = compare(*folders)
    assert found[compared].difference.startswith(reported)
    assert [name for name, finding in found.items() if finding.outcome == DIFFERENT] == [compared]


def test_tensors_are_compared_bit_for_bit(folders: tuple[Path, Path]) -> None:
    """The smallest possible change of one value is reported with its size."""
    file = folders[1] / "runs/case/run/checkpoints/step_00000060/model.safetensors"
    values = load_file(file)["weight"].copy()
    values[1, 2] = np.nextafter(values[1, 2], np.float32(9))
    save_file({"weight": values}, file)
    assert compare(*folders)["model tensors"].difference == "weight: differs by up to 4.77e-07"


def test_failed_commands_are_reported(folders: tuple[Path, Path]) -> None:
    """With their exit status and the last line of standard error."""
    (folders[1] / "out" / "case.greedy.stderr").write_text("reading\nseqlab: error: no such option\n")
    found = compare(*folders, STATUSES | {"case.greedy": 2})["greedy"]
    assert (found.outcome, found.difference) == (FAILED, "after, status 2: seqlab: error: no such option")


def test_missing_commands_are_reported_as_failed(folders: tuple[Path, Path]) -> None:
    """For example, if the process was killed."""
    assert compare(*folders, {})["train_run"].outcome == FAILED


def test_the_older_version_reads_its_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RENAMED_VALUES, "data.kind", {"parallel": "translation"})
    monkeypatch.setitem(RENAMED_KEYS, "optim.rate", "optim.optimizer.lr")
    newer = {"data": {"kind": "translation", "train_src": ["@a"]}, "optim": {"optimizer": {"family": "adam", "lr": 1}}}
    older = {"data": {"kind": "parallel", "train_src": ["@a"]}, "optim": {"optimizer": {"family": "adam"}, "rate": 1}}
    assert with_older_names(newer) == older
