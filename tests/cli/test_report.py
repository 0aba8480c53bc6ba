"""Commands `report` and `compare`: their output, and refused arguments."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from contracts.trained import Trained

from .conftest import Command


@pytest.fixture
def runs(trained_row: Callable[[str], Trained], tmp_path: Path) -> list[Path]:
    """Return two copies of a trained translator."""
    return [Path(shutil.copytree(trained_row("transformer").run, tmp_path / name)) for name in ("one", "two")]


def test_report_writes_a_page_and_compare_prints_the_same_differences(
    seqlab: Command, runs: list[Path], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    written = seqlab("report", *runs, "--out", page, "--threads", "1")
    assert (written.status, written.out) == (0, b"")
    shown = json.loads(page.read_text("utf-8").partition('id="contents">')[2].partition("</script>")[0])["comparison"]
    printed = seqlab("compare", *runs, "--json", "--threads", "1")
    assert printed.status == 0
    assert json.loads(printed.out)["comparisons"] == shown["compared"]
    text = seqlab("compare", *runs, "--threads", "1").out.decode()
    assert "bleu" in text.lower()
    assert "no difference" in text


def test_compare_refuses_one_run_and_other_data(
    seqlab: Command, runs: list[Path], trained_row: Callable[[str], Trained]
) -> None:
    assert "at least two runs" in seqlab("compare", runs[0]).err
    refused = seqlab("compare", runs[0], trained_row("rnn_lm").run)
    assert refused.status != 0
    assert "cannot be compared" in refused.err


def test_report_refuses_other_files(seqlab: Command, runs: list[Path], tmp_path: Path) -> None:
    refused = seqlab("report", runs[0], "--out", tmp_path / "page.pdf", "--no_predictions")
    assert refused.status != 0
    assert "must end in .html" in refused.err
