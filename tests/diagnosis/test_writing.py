"""Validation texts that differ from the training texts in their writing only are told from other texts."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diagnosis.planted import pairs, write

from seqlab.cli.main import main
from seqlab.diagnosis.data_checks import check_split
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.workbench import open_run
from seqlab.diagnosis.writing import fold_writing, writing_difference

SIZES = (300, 100)
Change = Callable[[str], str]


def decompose(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def widen(text: str) -> str:
    """Return full-width forms of ASCII characters."""
    return text.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)})


def split_punctuation(text: str) -> str:
    return text.replace(".", " .")


READINGS = (
    decompose,
    widen,
    str.lower,
    str.upper,
    split_punctuation,
    lambda text: "\ufeff" + text.replace(" ", "\u00a0"),
)


@pytest.mark.parametrize("change", READINGS)
def test_texts_in_another_writing_are_equal_when_it_is_folded(change: Change) -> None:
    _, texts = pairs(sum(SIZES))
    changed = [change(text) for text in texts]
    assert changed != texts
    assert list(map(fold_writing, changed)) == list(map(fold_writing, texts))


def test_other_texts_are_no_other_writing() -> None:
    """Not even in lower case: their words differ, too."""
    english, german = pairs(sum(SIZES))
    lowered = [text.lower() for text in german[SIZES[0] :]]
    assert "capital letters" in writing_difference(german[: SIZES[0]], lowered, area=0.99)
    assert writing_difference(english[: SIZES[0]], lowered, area=0.99) == ""


def test_parts_of_one_text_with_a_little_more_punctuation_are_no_other_writing() -> None:
    """A classifier of single characters tells them apart by names, of which each part of a play has its own."""
    english, _ = pairs(sum(SIZES))
    rng = np.random.default_rng(3)
    texts = [text + "!" * int(rng.random() < 0.3) for text in english]
    valid = [text + "!" * int(rng.random() < 0.5) for text in english[SIZES[0] :]]
    assert writing_difference(texts[: SIZES[0]], valid, area=0.75) == ""


def run_of(folder: Path, change: Change, *options: str) -> Experiments:
    """Train a language model for a step, with validation texts in another writing."""
    _, texts = pairs(sum(SIZES))
    train, valid = write(folder / "train.txt", texts[: SIZES[0]]), folder / "valid.txt"
    valid.write_text(change("".join(f"{text}\n" for text in texts[SIZES[0] :])), encoding="utf-8", newline="")
    data = ["--data.kind", "language_modelling", "--data.train", train, "--data.valid", str(valid)]
    model = ["--model.family", "rnn_lm", "--model.hidden_size", "8", "--training.max_steps", "1", "--quiet"]
    assert main(["train", *data, *model, *options, "--run_dir", str(folder / "run")]) == 0
    lab = Experiments(open_run(folder / "run", folder / "scratch"), minutes=5)
    lab.num_updates = 2
    return lab


@pytest.mark.parametrize(
    ("change", "tokenizer", "evidence"),
    [
        (decompose, ("characters", "none"), "letters beyond ASCII"),
        (split_punctuation, ("characters", "nfc"), "spaces"),
        (widen, ("words", "nfc"), "unknown"),
    ],
)
def test_another_writing_is_found_in_a_run(
    tmp_path: Path, change: Change, tokenizer: tuple[str, str], evidence: str
) -> None:
    kind, form = tokenizer
    lab = run_of(tmp_path, change, "--data.tokenizer.kind", kind, "--data.tokenizer.normalization", form)
    [finding] = check_split(lab)
    assert finding.cause == "other_reading"
    assert evidence in finding.evidence


@pytest.mark.parametrize(
    "change", [lambda text: text.replace("\n", "\r\n"), lambda text: "\ufeff" + text, lambda text: decompose(text)]
)
def test_differences_that_reading_removes_are_no_fault(tmp_path: Path, change: Change) -> None:
    """CR LF, a byte order mark, and with NFC the Unicode form."""
    lab = run_of(tmp_path, change, "--data.tokenizer.kind", "words")
    rows = lab.valid_array_rows
    (tmp_path / "plain").mkdir()
    plain = run_of(tmp_path / "plain", str, "--data.tokenizer.kind", "words").valid_array_rows
    assert all(map(np.array_equal, rows.targets, plain.targets))
    assert not list(check_split(lab))
