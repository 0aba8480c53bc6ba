"""Perplexity and other likelihood measures of texts, against their definitions."""

import json
import math

import pytest

from seqlab.evaluation import nll_per_tgt_token, perplexity_per_tgt_token
from seqlab.evaluation.likelihood import TextLikelihood


def test_perplexity_is_the_inverse_geometric_mean_of_the_probabilities():
    probs = [0.5, 0.25, 0.125, 0.9]
    nll = sum(-math.log(prob) for prob in probs)
    assert nll_per_tgt_token(nll, 4) == pytest.approx(nll / 4)
    assert perplexity_per_tgt_token(nll, 4) == pytest.approx(math.prod(probs) ** (-1 / 4))


def test_the_perplexity_of_a_uniform_model_is_its_vocabulary_size():
    assert perplexity_per_tgt_token(7 * math.log(10_000), 7) == pytest.approx(10_000)


def test_perplexity_overflows_to_infinity_and_needs_a_token():
    assert perplexity_per_tgt_token(1e6, 1) == math.inf
    with pytest.raises(ValueError, match="`num_tgt_tokens` must be at least 1, but is 0 instead"):
        perplexity_per_tgt_token(0.0, 0)


def make_likelihood(**changes: float | None) -> TextLikelihood:
    counts = {"nll": 30.0, "tokens": 12, "words": 5, "bytes": 24, "unknown": 0, "known_nll": 20.0, "dropped_bytes": 0}
    return TextLikelihood(**(counts | changes))  # type: ignore[arg-type]


def test_likelihood_measures_follow_from_the_sums() -> None:
    found = make_likelihood()
    assert found.nats_per_token == pytest.approx(30 / 12)
    assert found.perplexity == pytest.approx(math.exp(30 / 12))
    assert found.perplexity_per_word == pytest.approx(math.exp(30 / 5))
    assert 2 ** -(found.bits_per_byte * 24) == pytest.approx(math.exp(-30))  # the probability of the text
    assert found.as_dict() == {
        "nats_per_token": found.nats_per_token,
        "perplexity": found.perplexity,
        "known_perplexity": found.known_perplexity,
        "perplexity_per_word": found.perplexity_per_word,
        "bits_per_byte": found.bits_per_byte,
        "tokens": 12,
        "words": 5,
        "bytes": 24,
        "unknown": 0,
        "dropped_bytes": 0,
    }


def test_values_per_word_and_byte_do_not_depend_on_the_tokenization() -> None:
    coarse, fine = make_likelihood(tokens=6), make_likelihood(tokens=24)
    assert coarse.perplexity != fine.perplexity
    assert (coarse.perplexity_per_word, coarse.bits_per_byte) == (fine.perplexity_per_word, fine.bits_per_byte)


def test_perplexity_of_known_tokens_is_printed_with_unknown_tokens() -> None:
    found = make_likelihood(nll=None, unknown=2)
    assert found.known_perplexity == pytest.approx(math.exp(20 / 10))
    assert any(line.split()[:3] == ["perplexity,", "known", "7.3891"] for line in found.lines())
    assert "10 tokens, without the 2 unknown" in "\n".join(found.lines())
    assert "known" not in "\n".join(make_likelihood().lines())
    assert make_likelihood(unknown=12).known_perplexity is None


def test_undefined_values_are_none() -> None:
    found = make_likelihood(nll=None, unknown=2)
    names = ("nats_per_token", "perplexity", "perplexity_per_word", "bits_per_byte")
    assert [found.as_dict()[name] for name in names] == [None] * 4
    assert all("n/a" in line for line in found.lines() if "known" not in line)


def test_overflow_is_infinite_and_null_in_json() -> None:
    found = make_likelihood(nll=5000.0)
    assert found.perplexity_per_word == math.inf
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["perplexity_per_word"] is None
    assert "inf" in found.lines()[2]


def test_printed_lines_contain_the_counts() -> None:
    rendered = make_likelihood(tokens=12_345).lines()
    counts = ("12,345 tokens", "per token", "5 words", "24 bytes of the original")
    for line, count in zip(rendered, counts, strict=True):
        assert count in line
    assert rendered[3].split()[:4] == ["bits", "per", "byte", f"{30 / math.log(2) / 24:.4f}"]


@pytest.mark.parametrize("name", ["tokens", "words", "bytes"])
def test_an_empty_text_has_no_likelihood(name: str) -> None:
    with pytest.raises(ValueError, match="An empty text has no likelihood"):
        make_likelihood(**{name: 0})
