"""The default recipe translates all common short phrases correctly."""

from pathlib import Path

import pytest

import seqlab as package
from seqlab.corpora.number_words.phrases import short_phrases

from .conftest import seqlab


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_all_short_phrases_are_correct(tmp_path: Path, seed: int) -> None:
    """The numbers up to 1,000, the hours and the days of the year, for each training seed."""
    print(f"seed {seed}")
    seqlab("train", "number_words", "--run_dir", tmp_path / "run", "--seed", str(seed))
    phrases = short_phrases()
    outputs = package.load(tmp_path / "run").translate([phrase.en for phrase in phrases])
    wrong = [(phrase.en, output) for phrase, output in zip(phrases, outputs, strict=True) if output != phrase.de]
    assert not wrong
