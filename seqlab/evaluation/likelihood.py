"""What a model's log-probabilities say about a text, from sums over the corpus and never from a training loss.

A target token is one id that the model had to predict: each piece of the tokenizer and the end of sentence, no padding.
Two tokenizers cut one text into different numbers of tokens, so these numbers compare models with one tokenizer only.
"""

import math


def nll_per_tgt_token(nll: float, num_tgt_tokens: int) -> float:
    """Return nats per target token, from the sum of the negative log-probabilities (unsmoothed) and the token count.

    Raises:
        ValueError: there is no token.
    """
    if num_tgt_tokens < 1:
        raise ValueError(f"`num_tgt_tokens` must be at least 1, but is {num_tgt_tokens} instead.")
    return nll / num_tgt_tokens


def perplexity_per_tgt_token(nll: float, num_tgt_tokens: int) -> float:
    """Return exp of the nats per target token: infinite where that is more than a float holds."""
    try:
        return math.exp(nll_per_tgt_token(nll, num_tgt_tokens))
    except OverflowError:
        return math.inf
