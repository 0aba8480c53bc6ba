"""Metrics logger: appending to metrics.jsonl, truncation on resume, and damaged last lines."""

import json
from pathlib import Path
from typing import Any

import pytest

from seqlab.runs.folder import RunFolder
from seqlab.training.metrics_logger import MetricsLogger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return RunFolder(tmp_path).metrics_file


def read(path: Path) -> list[dict[str, Any]]:
    return list(RunFolder(path.parent).read_metrics())


def test_lines_are_written_at_once_and_appended_after_reopening(path: Path) -> None:
    for step in (1, 2):
        metrics_logger = MetricsLogger(path)
        metrics_logger.write("train", step=step, loss=0.1 + 0.2)
        assert [line["step"] for line in read(path)] == list(range(1, step + 1))
        assert metrics_logger.size() == path.stat().st_size
        metrics_logger.close()
    first, *_ = read(path)
    assert first == {"kind": "train", "step": 1, "loss": 0.1 + 0.2}


def test_truncation_drops_metrics_but_keeps_events(path: Path) -> None:
    metrics_logger = MetricsLogger(path)
    metrics_logger.write("event", event="first")
    metrics_logger.write("train", step=1)
    size = metrics_logger.size()
    metrics_logger.write("train", step=2)
    metrics_logger.write("event", event="resumed", changes={"a": [1, 2]})
    metrics_logger.write("valid", step=2)
    metrics_logger.truncate(size)
    metrics_logger.write("train", step=2)
    found = [line.get("event", line.get("step")) for line in read(path)]
    assert found == ["first", 1, "resumed", 2]
    metrics_logger.truncate(metrics_logger.size())
    assert len(read(path)) == 4
    metrics_logger.truncate(0)
    assert [line["event"] for line in read(path)] == ["first", "resumed"]


@pytest.mark.parametrize(
    "partial_line", [b'{"kind": "train", "st', b'{"kind": "event", "event": "res', b"\0\0\0\n", b"\xff\n"]
)
def test_partial_lines_after_a_kill_are_dropped(path: Path, partial_line: bytes) -> None:
    metrics_logger = MetricsLogger(path)
    metrics_logger.write("train", step=1)
    size = metrics_logger.size()
    metrics_logger.close()
    path.write_bytes(path.read_bytes() + partial_line)
    metrics_logger = MetricsLogger(path)
    metrics_logger.truncate(size)
    metrics_logger.write("train", step=2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_truncation_beyond_the_end_of_the_file_has_no_effect(path: Path) -> None:
    metrics_logger = MetricsLogger(path)
    metrics_logger.write("train", step=1)
    metrics_logger.truncate(10_000)
    metrics_logger.write("train", step=2)
    assert [line["step"] for line in read(path)] == [1, 2]


def test_an_incomplete_last_line_is_not_read(path: Path) -> None:
    path.write_text('{"kind": "train", "step": 1}\n{"kind": "tr')
    assert [line["step"] for line in read(path)] == [1]


def test_truncation_drops_a_line_that_is_incomplete_within_the_given_size(path: Path) -> None:
    """As if the disk had lost the end of the file: the next line must not be appended to a partial one."""
    metrics_logger = MetricsLogger(path)
    for step in (1, 2):
        metrics_logger.write("train", step=step)
    size = metrics_logger.size()
    metrics_logger.close()
    path.write_bytes(path.read_bytes()[:-7])
    metrics_logger = MetricsLogger(path)
    metrics_logger.truncate(size)
    metrics_logger.write("train", step=3)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3]
