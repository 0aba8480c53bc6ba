"""The recipe `number_words`: translations of all short phrases are correct."""

from pathlib import Path

import pytest

import seqlab
from seqlab.corpora.number_words.phrases import short_phrases

from .conftest import run_command


@pytest.mark.learning
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_all_short_phrases_are_correct(tmp_path: Path, seed: int) -> None:
    """The phrases are the numbers up to 1,000, the hours and the days of the year."""
    print(f"seed {seed}")
    run_command("train", "number_words", "--run_dir", tmp_path / "run", "--seed", str(seed))
    phrases = short_phrases()
    outputs = seqlab.load(tmp_path / "run").translate([phrase.en for phrase in phrases])
    wrong = [(phrase.en, output) for phrase, output in zip(phrases, outputs, strict=True) if output != phrase.de]
    assert not wrong
