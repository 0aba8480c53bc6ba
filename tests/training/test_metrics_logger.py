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


def test_lines_are_there_at_once_and_go_on_in_a_second_part(path: Path) -> None:
    for step in (1, 2):
        journal = MetricsLogger(path)
        journal.write("train", step=step, loss=0.1 + 0.2)
        assert [line["step"] for line in read(path)] == list(range(1, step + 1))
        assert journal.size() == path.stat().st_size
        journal.close()
    first, *_ = read(path)
    assert first == {"kind": "train", "step": 1, "loss": 0.1 + 0.2}


def test_cutting_back_drops_figures_but_not_events(path: Path) -> None:
    journal = MetricsLogger(path)
    journal.write("event", event="first")
    journal.write("train", step=1)
    size = journal.size()
    journal.write("train", step=2)
    journal.write("event", event="resumed", changes={"a": [1, 2]})
    journal.write("valid", step=2)
    journal.cut_back(size)
    journal.write("train", step=2)
    found = [line.get("event", line.get("step")) for line in read(path)]
    assert found == ["first", 1, "resumed", 2]
    journal.cut_back(journal.size())
    assert len(read(path)) == 4
    journal.cut_back(0)
    assert [line["event"] for line in read(path)] == ["first", "resumed"]


@pytest.mark.parametrize("rest", [b'{"kind": "train", "st', b'{"kind": "event", "event": "res', b"\0\0\0\n", b"\xff\n"])
def test_what_a_kill_left_behind_is_dropped(path: Path, rest: bytes) -> None:
    journal = MetricsLogger(path)
    journal.write("train", step=1)
    size = journal.size()
    journal.close()
    path.write_bytes(path.read_bytes() + rest)
    journal = MetricsLogger(path)
    journal.cut_back(size)
    journal.write("train", step=2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_journal_that_is_shorter_than_the_checkpoint_says_goes_on_where_it_ends(path: Path) -> None:
    journal = MetricsLogger(path)
    journal.write("train", step=1)
    journal.cut_back(10_000)
    journal.write("train", step=2)
    assert [line["step"] for line in read(path)] == [1, 2]


def test_a_last_line_that_is_being_written_is_not_read(path: Path) -> None:
    path.write_text('{"kind": "train", "step": 1}\n{"kind": "tr')
    assert [line["step"] for line in read(path)] == [1]


def test_a_line_that_is_torn_before_the_checkpoint_s_size_is_cut_off(path: Path) -> None:
    """As where a disk lost the end of the file: no line may be written onto what is left of another."""
    journal = MetricsLogger(path)
    for step in (1, 2):
        journal.write("train", step=step)
    size = journal.size()
    journal.close()
    path.write_bytes(path.read_bytes()[:-7])
    journal = MetricsLogger(path)
    journal.cut_back(size)
    journal.write("train", step=3)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3]
