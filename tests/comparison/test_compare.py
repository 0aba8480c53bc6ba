"""What the comparison of two versions takes for equal, and what it reports."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from comparison.compare import DIFFERENT, EQUAL, FAILED, Comparison, Finding, tensors_of
from comparison.settings import Case
from safetensors.numpy import save_file

CASE = Case("case", {"run": {}}, {"greedy": ("translate", "@run")})
STATUSES = {"case.train_run": 0, "case.greedy": 0}


def write_version(work: Path, kind: str = "parallel") -> Path:
    """Write what a version would leave behind."""
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
    """Return the findings by what was compared."""
    found = Comparison(before, after, {"before": STATUSES, "after": after_statuses}).findings(CASE)
    return {finding.compared: finding for finding in found}


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """Write two versions that are alike but for the name of the kind, times and events."""
    return write_version(tmp_path / "before"), write_version(tmp_path / "after", "translation")


def test_times_events_and_known_new_names_do_not_count(both: tuple[Path, Path]) -> None:
    """All else is equal."""
    found = compare(*both)
    assert {finding.outcome for finding in found.values()} == {EQUAL}
    assert {"model tensors", "figures", "config", "tokenizers", "greedy"} <= found.keys()


@pytest.mark.parametrize(
    ("path", "old", "new", "compared", "reported"),
    [
        ("runs/case/run/metrics.jsonl", "2.5", "2.50001", "figures", "1: loss: 2.5 before, 2.50001 after"),
        ("runs/case/run/config.yaml", "max_length: 9", "max_length: 8", "config", "data.max_length: 9 before, 8 after"),
        ("runs/case/run/config.yaml", "translation", "text", "config", "data.kind: parallel before, text after"),
        ("runs/case/run/tokenizer/tokenizer.model", "b", "c", "tokenizers", "tokenizer/tokenizer.model: "),
        ("out/case.greedy.stdout", "zwei", "drei", "greedy", "2: zwei before, drei after"),
    ],
)
def test_a_difference_is_reported(
    both: tuple[Path, Path], path: str, old: str, new: str, compared: str, reported: str
) -> None:
    """Of one file, where it begins; the rest stays equal."""
    file = both[1] / path
    file.write_text(file.read_text().replace(old, new))
    found = compare(*both)
    assert found[compared].difference.startswith(reported)
    assert [name for name, finding in found.items() if finding.outcome == DIFFERENT] == [compared]


def test_tensors_are_compared_bit_for_bit(both: tuple[Path, Path]) -> None:
    """The smallest change of one value is reported, and by how much."""
    file = both[1] / "runs/case/run/checkpoints/step_00000060/model.safetensors"
    values = np.frombuffer(tensors_of(file)["weight"][2], np.float32).reshape(2, 3).copy()
    values[1, 2] = np.nextafter(values[1, 2], np.float32(9))
    save_file({"weight": values}, file)
    assert compare(*both)["model tensors"].difference == "weight: up to 4.77e-07 apart"


def test_a_command_that_fails_is_no_equal_one(both: tuple[Path, Path]) -> None:
    """Its status and the last line of its error are shown."""
    (both[1] / "out" / "case.greedy.stderr").write_text("reading\nseqlab: error: no such option\n")
    found = compare(*both, STATUSES | {"case.greedy": 2})["greedy"]
    assert (found.outcome, found.difference) == (FAILED, "after, status 2: seqlab: error: no such option")


def test_commands_that_were_never_run_have_failed(both: tuple[Path, Path]) -> None:
    """As where the process was killed."""
    assert compare(*both, {})["train_run"].outcome == FAILED
