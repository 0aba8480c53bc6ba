"""Perplexity from its definition: the inverse geometric mean of the tokens' probabilities."""

import math

import pytest

from seqlab.evaluation import nll_per_tgt_token, perplexity_per_tgt_token


def test_perplexity_is_the_inverse_geometric_mean_of_the_probabilities():
    probs = [0.5, 0.25, 0.125, 0.9]
    nll = sum(-math.log(prob) for prob in probs)
    assert nll_per_tgt_token(nll, 4) == pytest.approx(nll / 4)
    assert perplexity_per_tgt_token(nll, 4) == pytest.approx(math.prod(probs) ** (-1 / 4))


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    assert perplexity_per_tgt_token(7 * math.log(10_000), 7) == pytest.approx(10_000)


def test_extremes():
    assert perplexity_per_tgt_token(1e6, 1) == math.inf
    with pytest.raises(ValueError, match="`num_tgt_tokens` must be at least 1, but is 0 instead"):
        perplexity_per_tgt_token(0.0, 0)
