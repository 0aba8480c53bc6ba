"""Stored runs of all model families with their results, for tests of newer versions and other devices.

`tests/store_runs.py` wrote them, those of text at commit 6e5eb0d.
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
COUNTED = ("ngram_lm", "frequency_labeller")
USES = [name for name in FAMILIES if name != "transformer_mlm"]
"""A masked model only initializes other runs."""


def unpack(folder: Path, path: Path = ARCHIVE) -> Path:
    """Unpack an archive into a folder."""
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    return folder


def read_expected() -> dict[str, Any]:
    """Read the results of the stored runs by family; the working directory must be the folder with the runs."""
    found: dict[str, Any] = json.loads(Path("expected.json").read_text("utf-8"))
    return found


def seqlab(*arguments: str) -> None:
    """Run a command in this process; fail the test if the command fails."""
    try:
        assert main(arguments) == 0
    finally:
        logging.getLogger().handlers.clear()  # they hold this test's standard error


def answers(argv: list[str]) -> list[Any]:
    """Run a command and parse its JSON lines."""
    seqlab(*argv, "--output", "answers.jsonl")
    return [json.loads(line) for line in Path("answers.jsonl").read_text("utf-8").splitlines()]


def assert_same(found: Any, wanted: Any, where: str, tolerance: float = 1e-4, *, compares_texts: bool = True) -> None:
    """Compare numbers within a tolerance and all else exactly; a newer version may have more fields."""
    if isinstance(wanted, Mapping):
        for name, value in wanted.items():
            is_sentence = name == "reading"  # for people: it may be reworded
            assert_same(
                found[name], value, f"{where}.{name}", tolerance, compares_texts=not is_sentence and compares_texts
            )
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for place, (one, other) in enumerate(zip(found, wanted, strict=True)):
            assert_same(one, other, f"{where}[{place}]", tolerance, compares_texts=compares_texts)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=tolerance, rel=tolerance / 10), where
    elif compares_texts:
        assert found == wanted, where


def last_nll(run_dir: str) -> tuple[int, float]:
    """Return the step and the nll per unit of a run's last validation."""
    lines = map(json.loads, Path(run_dir, "metrics.jsonl").read_text("utf-8").splitlines())
    *_, last = (line for line in lines if line["kind"] == "valid")
    [loss] = [value for name, value in last.items() if name.startswith("nll_per") or name == "loss"]
    return last["step"], loss
