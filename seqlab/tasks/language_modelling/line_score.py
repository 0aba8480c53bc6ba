"""How likely a line is, and what the vocabulary does not have of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqlab.runs.spelling import SpellingModel
from seqlab.text import Tokenizer


@dataclass(frozen=True)
class LineScore:
    """How likely a line is."""

    log_prob: float | None
    """In nats, the end of line counted, and what the spelling of each unknown item costs; None where something is
    unknown and the run cannot spell."""
    num_tokens: int
    token_log_probs: list[float]
    """In nats, the end of line last; an unknown item has the log-probability of being unknown, not of its spelling."""
    unknown: list[str]
    """What the vocabulary does not have."""


def line_score(log_probs: NDArray[np.float64], unknown: Sequence[str], spellings: Sequence[SpellingModel]) -> LineScore:
    """Sum a line up."""
    cost = spelling_cost(unknown, spellings)
    total = None if cost is None else float(log_probs.sum()) + cost
    return LineScore(total, len(log_probs), log_probs.tolist(), list(unknown))


def spelling_cost(unknown: Sequence[str], spellings: Sequence[SpellingModel]) -> float | None:
    """Sum the log-probabilities of the spellings of unknown items, in nats; None where no model can spell them.

    Several models spell by the mean of their probabilities.
    """
    if unknown and not spellings:
        return None
    spelt = (np.logaddexp.reduce([each.log_prob(item) for each in spellings]) for item in unknown)
    return sum(float(each) - math.log(len(spellings)) for each in spelt)


def added_items(tokenizer: Tokenizer, ids: Sequence[int], text: str, prompt: str) -> list[int | str]:
    """Give what a text has behind that with which its prompt alone begins too: ids, and unknown items themselves."""
    [prompt_ids] = tokenizer.encode([prompt])
    items, others = _items(tokenizer, ids, text), _items(tokenizer, prompt_ids, prompt)
    pairs = enumerate(zip(items, others, strict=False))
    return items[next((i for i, (one, other) in pairs if one != other), min(len(items), len(others))) :]


def _items(tokenizer: Tokenizer, ids: Sequence[int], text: str) -> list[int | str]:
    """Put unknown items into the places of their ids, which are all the same."""
    unknown = iter(tokenizer.unknown_items(text))
    return [next(unknown) if each == tokenizer.unk_id else each for each in ids]
