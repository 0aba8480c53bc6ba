"""Metrics of one sentence as rewards, higher is better, for training on a metric.

A reward is registered as a `reward`: a function of a hypothesis and its reference. `prefix_rewards` divides the reward
of a sequence among its tokens.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

from rapidfuzz.distance import Levenshtein

Reward = Callable[[str, str], float]
"""Function of a hypothesis and its reference; finite, higher is better."""

MAX_BLEU_ORDER = 4
"""Length of the longest n-grams of BLEU, in words."""
MAX_CHRF_ORDER = 6
"""Length of the longest n-grams of chrF, in characters."""
CHRF_BETA = 2
"""Weight of recall against precision in chrF2."""
CACHED_REFERENCES = 4096
"""References whose n-grams are kept: a reference is compared with all samples of its source, and their prefixes."""


def bleu_reward(hypothesis: str, reference: str) -> float:
    """Compute BLEU+1 of a sentence, 0 to 1: counts of n-grams of two and more words are increased by 1.

    Lin and Och 2004, C04-1072; 13a tokenization. Equals `sentence_bleu` of sacrebleu, with `smooth_method: add-k`, a
    `smooth_value` of 1, divided by 100.
    """
    words, expected = _words(hypothesis), _bleu_reference(reference)
    if not words:
        return 0.0
    product = 1.0
    for n in range(1, MAX_BLEU_ORDER + 1):
        smoothing = int(n > 1)
        total = max(0, len(words) - n + 1)
        product *= (_count_matches(words, n, expected) + smoothing) / (total + smoothing)
    brevity_penalty = math.exp(min(0.0, 1 - expected.length / len(words)))
    return float(brevity_penalty * product ** (1 / MAX_BLEU_ORDER))


def chrf_reward(hypothesis: str, reference: str) -> float:
    """Compute chrF2 of a sentence, 0 to 1, as `sentence_chrf` of sacrebleu divided by 100 (W15-3049)."""
    characters, expected = "".join(hypothesis.split()), _chrf_reference(reference)
    orders = min(MAX_CHRF_ORDER, len(characters), expected.length)
    precision = recall = 0.0  # sums over the orders
    for n in range(1, orders + 1):
        matches = _count_matches(characters, n, expected)
        precision += matches / (len(characters) - n + 1)
        recall += matches / (expected.length - n + 1)
    if not precision:
        return 0.0
    weight = CHRF_BETA**2
    return (1 + weight) * precision * recall / (weight * precision + recall) / orders


def wer_reward(hypothesis: str, reference: str) -> float:
    """Compute 1 minus the word error rate, at most 1; tokens are separated by whitespace, as phones are."""
    return _accuracy(hypothesis.split(), reference.split())


def cer_reward(hypothesis: str, reference: str) -> float:
    """Compute 1 minus the character error rate, at most 1."""
    return _accuracy(hypothesis.strip(), reference.strip())


def edit_distance_reward(hypothesis: str, reference: str) -> float:
    """Compute the negative number of edits between two texts, in characters (Levenshtein 1966)."""
    return -float(Levenshtein.distance(hypothesis, reference))


def exact_match_reward(hypothesis: str, reference: str) -> float:
    """Return 1 for a hypothesis that equals its reference, else 0."""
    return float(hypothesis == reference)


def prefix_rewards(reward: Reward, prefixes: Sequence[str], reference: str) -> list[float]:
    """Return the increase of the reward from each prefix of a hypothesis to the next.

    Args:
        reward: the reward of a text.
        prefixes: texts of the first 0, 1, 2, ... tokens; the last one is the hypothesis.
        reference: the reference.

    Returns:
        One number per token. Their sum is the reward of the hypothesis minus that of the empty text.
    """
    values = [reward(prefixes[0], reference)]
    for before, prefix in pairwise(prefixes):
        values.append(values[-1] if prefix == before else reward(prefix, reference))
    return [after - before for before, after in pairwise(values)]


def _accuracy(tokens: Sequence[str], expected: Sequence[str]) -> float:
    """Return 1 minus the number of edits per expected token; no token counts as one."""
    return 1 - Levenshtein.distance(tokens, expected) / max(1, len(expected))


class _Reference:
    """N-grams of a reference."""

    def __init__(self, tokens: Sequence[str], max_order: int) -> None:
        self.length = len(tokens)
        self.ngrams = [_ngrams(tokens, n) for n in range(1, max_order + 1)]


def _count_matches(tokens: Sequence[str], n: int, expected: _Reference) -> int:
    """Count the n-grams of a sequence that are in the reference, each at most as often as there."""
    in_reference = expected.ngrams[n - 1]
    return sum(min(count, in_reference[ngram]) for ngram, count in _ngrams(tokens, n).items() if ngram in in_reference)


def _ngrams(tokens: Sequence[str], n: int) -> "Counter[Sequence[str]]":
    """Count the n-grams of a string, or of a tuple of words."""
    return Counter(tokens[start : start + n] for start in range(len(tokens) - n + 1))


@lru_cache(maxsize=CACHED_REFERENCES)
def _bleu_reference(reference: str) -> _Reference:
    return _Reference(_words(reference), MAX_BLEU_ORDER)


@lru_cache(maxsize=CACHED_REFERENCES)
def _chrf_reference(reference: str) -> _Reference:
    return _Reference("".join(reference.split()), MAX_CHRF_ORDER)


def _words(text: str) -> tuple[str, ...]:
    """Tokenize a text for BLEU, as sacrebleu's 13a."""
    return tuple(_tokenizer()(text.rstrip()).split())


@lru_cache(maxsize=1)
def _tokenizer() -> Callable[[str], str]:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    return Tokenizer13a()
