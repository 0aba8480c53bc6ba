"""All JSON that seqlab writes is valid: a number that is not finite is null, and readers accept it."""

import ast
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import seqlab
from seqlab.base.atomic_io import read_checksummed_json, write_checksummed_json
from seqlab.base.json_text import json_text, replace_non_finite
from seqlab.base.parsing import validate_type
from seqlab.inference.lines import json_line
from seqlab.runs.folder import RunFolder
from seqlab.training.metrics_logger import MetricsLogger
from seqlab.training.state import Progress

TEXTS_AND_HASHES = {
    "base/parsing.py",
    "base/atomic_io.py",
    "cli/train_help.py",
    "data/column.py",
    "data/input_hashes.py",
    "data/manifests.py",
    "data/records.py",
    "runs/overrides.py",
    "runs/summary.py",
}
"""Modules that use `json.dumps` for messages, cells and hashes, not for a file or an output."""
values = st.recursive(
    st.none() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def parse_strictly(text: str | bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@given(values)
def test_numbers_that_are_not_finite_are_null(value: Any) -> None:
    def expected(each: Any) -> Any:
        if isinstance(each, dict):
            return {name: expected(inner) for name, inner in each.items()}
        if isinstance(each, list):
            return [expected(inner) for inner in each]
        return None if isinstance(each, float) and not math.isfinite(each) else each

    assert parse_strictly(json_text(value)) == expected(value)
    assert parse_strictly(json_line({"value": value})) == {"value": expected(value)}


def test_one_function_writes_all_json() -> None:
    package = Path(seqlab.__file__).parent
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(
            isinstance(node, ast.Attribute) and node.attr in ("dump", "dumps") and ast.unparse(node.value) == "json"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    assert found == TEXTS_AND_HASHES | {"base/json_text.py"}


def test_files_of_runs_are_json_and_are_read_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    logger = MetricsLogger(folder.metrics_file)
    logger.write("valid", step=1, nll=math.nan, rmse=math.inf)
    logger.close()
    lines = folder.metrics_file.read_text().splitlines()
    assert parse_strictly(lines[0]) == {"kind": "valid", "step": 1, "nll": None, "rmse": None}
    folder.metrics_file.write_text(lines[0] + '\n{"kind": "valid", "step": 2, "nll": NaN}\n')  # of earlier versions
    assert [math.isnan(line["nll"]) for line in folder.read_metrics()] == [True, True]
    write_checksummed_json(tmp_path / "a.json", {"a": [1.5, math.nan]})
    assert parse_strictly((tmp_path / "a.json").read_bytes())["a"] == [1.5, None]
    assert read_checksummed_json(tmp_path / "a.json") == {"a": [1.5, None]}


def test_the_state_of_a_training_is_read_back_exactly() -> None:
    progress = Progress(step=3, best=[(0.5, math.inf, 2)], valid_nlls=[1.0, math.nan, -math.inf, math.inf])
    stored = parse_strictly(json.dumps(replace_non_finite(progress.to_json(), str)))
    found = validate_type(stored, Progress)
    assert found.best == progress.best
    assert found.valid_nlls == pytest.approx(progress.valid_nlls, nan_ok=True)
