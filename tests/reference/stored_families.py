"""Stored runs of all model families with their results, for tests of newer versions and other devices.

Written by `tests/store_runs.py`, the text families at commit 6e5eb0d. The confidences of timed tokens were updated when
they became those of the most probable CTC path (8f99dad).
"""

import json
import logging
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from seqlab.cli.main import main

ARCHIVE = Path(__file__).parents[1] / "checkpoints" / "families_v2.tar.xz"
FAMILIES = (
    *("transformer", "transformer_ctc", "transformer_nat", "transformer_cmlm", "rnn", "lstm", "gru"),
    *("transformer_lm", "rnn_lm", "lstm_lm", "gru_lm", "ngram_lm", "transformer_mlm"),
    *("rnn_labeller", "lstm_labeller", "gru_labeller", "transformer_labeller", "frequency_labeller"),
)
SPEECH_ARCHIVE = ARCHIVE.with_name("speech_v1.tar.xz")
SPEECH_FAMILIES = (
    *("gru_recogniser", "lstm_recogniser", "transformer_recogniser"),
    *(f"{name}_recording_labeller" for name in ("gru", "lstm", "transformer", "cnn")),
)
COUNT_BASED_FAMILIES = ("ngram_lm", "frequency_labeller")
"""Families that are estimated from counts, without gradients."""
DECODABLE_FAMILIES = [name for name in FAMILIES if name != "transformer_mlm"]
"""Families with an inference command. A masked language model only initializes other runs."""


def unpack(folder: Path, path: Path = ARCHIVE) -> Path:
    """Unpack an archive into a folder."""
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    return folder


def read_expected() -> dict[str, Any]:
    """Read the expected results of the stored runs by family, from the working directory."""
    found: dict[str, Any] = json.loads(Path("expected.json").read_text("utf-8"))
    return found


def run_command(*arguments: str) -> None:
    """Run a command of seqlab in this process, and check that it succeeds."""
    try:
        assert main(arguments) == 0
    finally:
        logging.getLogger().handlers.clear()  # handlers keep this test's standard error


def run_and_read_outputs(argv: list[str]) -> list[Any]:
    """Run a command and parse the JSON lines that it writes."""
    run_command(*argv, "--output", "outputs.jsonl")
    return [json.loads(line) for line in Path("outputs.jsonl").read_text("utf-8").splitlines()]


def assert_same(found: Any, expected: Any, path: str, tolerance: float = 1e-4, *, compares_texts: bool = True) -> None:
    """Compare numbers within a tolerance and other values exactly. `found` may have additional fields."""
    if isinstance(expected, Mapping):
        for name, value in expected.items():
            is_prose = name == "reading"  # describes the context window in prose, so its text may change
            assert_same(found[name], value, f"{path}.{name}", tolerance, compares_texts=not is_prose and compares_texts)
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for index, (found_item, expected_item) in enumerate(zip(found, expected, strict=True)):
            assert_same(found_item, expected_item, f"{path}[{index}]", tolerance, compares_texts=compares_texts)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=tolerance, rel=tolerance / 10), path
    elif compares_texts:
        assert found == expected, path


def last_nll(run_dir: str) -> tuple[int, float]:
    """Return the step and the nll per unit of a run's last validation."""
    lines = map(json.loads, Path(run_dir, "metrics.jsonl").read_text("utf-8").splitlines())
    *_, last = (line for line in lines if line["kind"] == "valid")
    [loss] = [value for name, value in last.items() if name.startswith("nll_per") or name == "loss"]
    return last["step"], loss
