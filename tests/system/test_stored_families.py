"""A stored run of each model family is loaded, used and continued.

`tests/store_runs.py` made them at commit 6e5eb0d.
"""

import json
import logging
import shutil
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
COUNTED = ("ngram_lm", "frequency_labeller")
USES = [name for name in FAMILIES if name != "transformer_mlm"]
"""A masked model is for other runs to start from."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the archive."""
    folder = tmp_path_factory.mktemp("stored")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def expected(stored: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Work in the unpacked folder; return what the stored runs answered, by family."""
    monkeypatch.chdir(stored)
    found: dict[str, Any] = json.loads(Path("expected.json").read_text("utf-8"))
    return found


def seqlab(*arguments: str) -> None:
    """Run a command in this process; fail the test where it fails."""
    try:
        assert main(arguments) == 0
    finally:
        logging.getLogger().handlers.clear()  # they write to this test's standard error


def answers(argv: list[str]) -> list[Any]:
    """Run a command and read the JSON that it writes, line by line."""
    seqlab(*argv, "--output", "answers.jsonl")
    return [json.loads(line) for line in Path("answers.jsonl").read_text("utf-8").splitlines()]


def assert_same(found: Any, wanted: Any, where: str) -> None:
    """Compare numbers within 1e-4 and everything else exactly; a newer version may give more fields."""
    if isinstance(wanted, Mapping):
        for name, value in wanted.items():
            assert_same(found[name], value, f"{where}.{name}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for place, (one, other) in enumerate(zip(found, wanted, strict=True)):
            assert_same(one, other, f"{where}[{place}]")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=1e-4, rel=1e-5), where
    else:
        assert found == wanted, where


def test_every_family_is_stored(expected: dict[str, Any]) -> None:
    """A family that is added later has no stored run, those that were there have."""
    assert set(expected) == set(FAMILIES)


@pytest.mark.parametrize("family", USES)
def test_a_stored_run_answers_as_it_did(expected: dict[str, Any], family: str) -> None:
    """Texts and labels are the same, scores and perplexities within 1e-4."""
    assert expected[family]["uses"]
    for what, use in expected[family]["uses"].items():
        assert_same(answers(use["argv"]), use["lines"], what)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in COUNTED])
def test_a_stored_run_is_continued(expected: dict[str, Any], family: str) -> None:
    """The steps that follow end in the loss that they ended in then."""
    continued = expected[family]["continued"]
    shutil.copytree(f"runs/{family}", f"continued/{family}")
    seqlab(*continued["argv"])
    lines = map(json.loads, Path(f"continued/{family}/metrics.jsonl").read_text("utf-8").splitlines())
    *_, last = (line for line in lines if line["kind"] == "valid")
    [loss] = [value for name, value in last.items() if name.startswith("nll_per")]
    assert last["step"] == continued["step"]
    assert loss == pytest.approx(continued["nll"], abs=5e-3)  # rounding differs between machines, and grows


def test_a_stored_masked_model_is_one_to_start_from(expected: dict[str, Any]) -> None:
    """A labeller takes the weights that match, and labels each word."""
    corpus = ("--data.train_src", "corpora/lines.txt", "--data.train_tgt", "corpora/tags.txt")
    labels = ("--data.labels_of", "words", "--training.max_steps", "2")
    start = ("--init_from", "runs/transformer_mlm", "--init_parts", "matching")
    sizes = ("--model.d_model", "8", "--model.d_ff", "16")
    model = ("--model.family", "transformer_labeller", "--model.num_heads", "1")
    seqlab("train", *corpus, *labels, *start, *model, *sizes, "--run_dir", "runs/started", "--threads", "1")
    seqlab("label", "runs/started", "--input", "corpora/test_lines.txt", "--output", "labels.txt")
    words = [len(line.split()) for line in Path("corpora/test_lines.txt").read_text("utf-8").splitlines()]
    assert [len(line.split()) for line in Path("labels.txt").read_text("utf-8").splitlines()] == words
