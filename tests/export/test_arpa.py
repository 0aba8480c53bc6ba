"""ARPA export and import: round trips of scores with every tokenizer."""

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
def test_round_trip_with_the_tokenizer_of_the_run_keeps_scores(runs: TinyRuns, tokenizer: str, tmp_path: Path) -> None:
    run_dir = runs("ngram_lm", tokenizer)
    arpa_file = export_arpa(run_dir, tmp_path / "model.arpa.gz")
    imported = import_arpa(arpa_file, tmp_path / "imported", tokenizer_of=run_dir)
    found, expected = (load_language_model(path).score(TEXT) for path in (imported, run_dir))
    for one, other in zip(found, expected, strict=True):
        assert one.token_log_probs == pytest.approx(other.token_log_probs, abs=1e-6)
        assert one.unknown == other.unknown


def test_import_without_a_tokenizer_uses_the_vocabulary_of_the_file(runs: TinyRuns, tmp_path: Path) -> None:
    run_dir = runs("ngram_lm", "words")
    imported = import_arpa(export_arpa(run_dir, tmp_path / "model.arpa"), tmp_path / "imported")
    found, expected = (load_language_model(path).perplexity(LINES[5:15]).likelihood for path in (imported, run_dir))
    assert found.as_dict() == pytest.approx(expected.as_dict(), rel=1e-6)
    [[continuation]] = load_language_model(imported).generate(["der"])
    assert continuation.text
    unknown = load_language_model(imported).score(["blorp"])[0]
    assert (unknown.unknown, unknown.log_prob) == (["blorp"], None)
