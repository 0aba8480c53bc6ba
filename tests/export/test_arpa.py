"""Export to ARPA and import: the same scores for every kind of tokenizer."""

from pathlib import Path

import pytest
from reference.tiny_language_models import LINES, TinyRuns

from seqlab.export import export_arpa, import_arpa
from seqlab.tasks.language_modelling.language_model import load_language_model

TEXT = [*LINES[5:15], "der Hund", ""]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> TinyRuns:
    return TinyRuns(tmp_path_factory.getbasetemp() / "language_models")


@pytest.mark.parametrize("tokenizer", ["bpe", "sentencepiece", "characters", "words"])
def test_round_trip(runs: TinyRuns, tokenizer: str, tmp_path: Path) -> None:
    """With the tokenizer of the run it is the same model."""
    run_dir = runs("ngram_lm", tokenizer)
    file = export_arpa(run_dir, tmp_path / "model.arpa.gz")
    again = import_arpa(file, tmp_path / "again", tokenizer_of=run_dir)
    found, expected = (load_language_model(path).score(TEXT) for path in (again, run_dir))
    for one, other in zip(found, expected, strict=True):
        assert one.token_log_probs == pytest.approx(other.token_log_probs, abs=1e-6)
        assert one.unknown == other.unknown


def test_vocabulary_of_the_file(runs: TinyRuns, tmp_path: Path) -> None:
    run_dir = runs("ngram_lm", "words")
    again = import_arpa(export_arpa(run_dir, tmp_path / "model.arpa"), tmp_path / "again")
    found, expected = (load_language_model(path).perplexity(LINES[5:15]).likelihood for path in (again, run_dir))
    assert found.as_dict() == pytest.approx(expected.as_dict(), rel=1e-6)
    [[continuation]] = load_language_model(again).generate(["der"])
    assert continuation.text
    unknown = load_language_model(again).score(["blorp"])[0]
    assert (unknown.unknown, unknown.log_prob) == (["blorp"], None)
