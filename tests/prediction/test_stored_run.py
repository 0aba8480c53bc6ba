"""A run of version 0.3.0 on a table that this version reads differently: it predicts and resumes as before."""

import json
import math
import tarfile
from pathlib import Path

import pytest
from system.conftest import run_command

from seqlab.data.column_reading import ColumnReading
from seqlab.data.tables import RawTable

ARCHIVE = Path(__file__).parents[1] / "checkpoints" / "table_v1.tar.xz"
"""A run of 20 steps, its table, the predictions of version 0.3.0, and those after 24 steps."""


def assert_predictions(out: str, file: Path) -> None:
    expected = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    found = [json.loads(line) for line in out.splitlines()]
    assert [each["prediction"] for each in found] == [each["prediction"] for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert all(math.isclose(one["values"][name], value, rel_tol=1e-5) for name, value in other["values"].items())


def reading_of(name: str) -> ColumnReading:
    return RawTable.read(["t.csv"]).columns[name].reading


def test_a_run_of_version_1_predicts_and_resumes_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes with leading zeros and `1_000` were numbers, and NaN a class."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    assert not reading_of("zip").is_numeric
    assert str(reading_of("amount").format) == "like 1_234.5"
    predict = ("predict", "run", "--input", "t.csv", "--json", "--device", "cpu", "--threads", "1")
    assert_predictions(run_command(*predict).stdout.decode(), tmp_path / "predictions.jsonl")
    run_command("train", "--run_dir", "run", "--training.max_steps", "24")
    assert_predictions(run_command(*predict).stdout.decode(), tmp_path / "continued.jsonl")
