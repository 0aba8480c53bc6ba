"""Parts of the inspection of data alone: mojibake, near-duplicates, character models, and copies without rows."""

import numpy as np
import pytest
from diagnosis.planted import pairs
from sklearn.linear_model import Ridge

from seqlab.diagnosis.label_noise import label_ratios
from seqlab.diagnosis.languages import CharacterModel
from seqlab.diagnosis.linear_models import NO_FOLD, RIDGE, cross_fit_ridge
from seqlab.diagnosis.near_duplicates import duplicate_rows, jaccard, near_duplicates, shingles_of_texts
from seqlab.diagnosis.row_features import Standardized
from seqlab.diagnosis.text_quality import character_fault, mojibake


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize("text", ["Müller isst Äpfel.", "ça déjà vu", "“quoted”", "Привет, мир", "straße", "5 €"])
def test_mojibake_is_recognized_and_repaired(text: str, encoding: str) -> None:
    broken = "".join(
        bytes([byte]).decode(encoding, "ignore") or bytes([byte]).decode("latin-1") for byte in text.encode()
    )
    assert mojibake(broken) == text


@pytest.mark.parametrize(
    "text", ["Müller", "Spaß“, sagte er", "déjà", "20 °C", "Ça ira", "à «", "пример", "日本語", "Â", "Ã", "plain"]
)
def test_correct_text_is_no_mojibake(text: str) -> None:
    assert mojibake(text) is None
    assert character_fault(text) is None


def test_a_sequence_counts_if_other_lines_have_its_character() -> None:
    broken = "k ɔ".encode().decode("cp1252")
    assert mojibake(broken) is None
    assert mojibake(broken, {"ɔ"}) == "k ɔ"


@pytest.mark.parametrize("text", ["a\ufffdb", "a\x07b", "\ufeffa", "a\u200bb", "M&amp;M"])
def test_wrong_characters_are_described(text: str) -> None:
    assert character_fault(text)


def test_near_duplicates_equal_those_of_all_pairs() -> None:
    texts = pairs(150)[0] + [text.replace("old", "very old").upper() for text in pairs(20)[0]]

    def shingles(text: str) -> set[str]:
        text = " ".join(text.casefold().split())
        return {text[start : start + 5] for start in range(len(text) - 4)}

    sets = [shingles(text) for text in texts]
    similar = {
        (row, earlier)
        for row in range(len(texts))
        for earlier in range(row)
        if len(sets[row] & sets[earlier]) / len(sets[row] | sets[earlier]) >= 0.8
        and min(len(sets[row]), len(sets[earlier])) >= 40
    }
    found = near_duplicates(len(texts), lambda start, stop: shingles_of_texts(texts[start:stop]))
    assert {(pair.row, pair.earlier) for pair in found} <= similar
    kept = set(range(len(texts))) - {pair.row for pair in found}
    missed = [(row, earlier) for row, earlier in similar if {row, earlier} <= kept]
    assert len(missed) <= 0.02 * len(similar)
    assert len(found) >= 5


def test_rows_with_equal_features_are_found() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((30, 4))
    features[20] = features[3]
    assert np.flatnonzero(duplicate_rows(features) != np.arange(30)).tolist() == [20]
    assert jaccard(np.array([1, 2, 3], np.uint64), np.array([2, 3, 4], np.uint64)) == 0.5


def test_probabilities_of_a_character_model_sum_to_at_most_one() -> None:
    model = CharacterModel()
    model.add(["abab", "abba", "b"])
    continuations = [f"ab{character}" for character in "abcdefgh"]
    assert np.exp(model.log_probs(continuations)).sum() < 1
    assert model.log_probs(["abab"])[0] > model.log_probs(["bbbb"])[0] > model.log_probs(["zzzz"])[0]


def test_label_ratios_do_not_depend_on_the_order_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    features, order = rng.standard_normal((300, 5)), rng.permutation(300)
    labels = (features[:, 0] > 0).astype(np.int64)
    labels[10] = 1 - labels[10]
    folds = np.arange(300) % 5
    ratios, _ = label_ratios(Standardized(features, num_random=0), labels, folds)
    moved, _ = label_ratios(Standardized(features[order], num_random=0), labels[order], folds[order])
    np.testing.assert_allclose(moved, ratios[order], rtol=0.02, atol=0.02)


def test_a_cross_fitted_ridge_regression_is_that_of_scikit_learn() -> None:
    """Rows without a fold have no target; the penalty is that of the mean variance of a feature."""
    rng = np.random.default_rng(0)
    inputs, outputs = Standardized(rng.normal(size=(90, 5)), 3), Standardized(rng.normal(size=(90, 2)), 0)
    folds = np.where(np.arange(90) < 10, NO_FOLD, np.arange(90) % 3)
    predictions = cross_fit_ridge(inputs, outputs, folds)
    x, y = inputs.block(0, 90), outputs.block(0, 90)
    for fold in range(3):
        others = (folds != fold) & (folds != NO_FOLD)
        penalty = RIDGE * others.sum() * x[others].var(axis=0).mean()
        expected = Ridge(alpha=penalty).fit(x[others], y[others]).predict(x[folds == fold])
        np.testing.assert_allclose(predictions[folds == fold], expected, atol=1e-4)
    assert not predictions[:10].any()
