"""Brute-force search over all sequences, as a reference for other searches."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from seqlab.search.config import SearchConfig

NEG_INF = float("-inf")
Table = Callable[[tuple[int, ...]], Sequence[float]]
"""Maps a prefix to the scores of the next id."""


class ScoredSequence(NamedTuple):
    """A hypothesis: `score` is the log-probability after the length penalty."""

    finished: bool
    score: float
    ids: tuple[int, ...]
    log_prob: float


def length_penalty(length: int, config: SearchConfig) -> float:
    """Compute the divisor of the log-probability of a sequence with `length` ids."""
    base = {"plain": length, "gnmt": (5 + length) / 6}[config.length_penalty]
    return base**config.length_alpha


def has_repeats(ids: Sequence[int], size: int) -> bool:
    """Check whether an n-gram of `size` ids occurs twice (False for size 0)."""
    ngrams = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
    return size > 0 and len(set(ngrams)) < len(ngrams)


def all_sequences(
    table: Table,
    eos_id: int,
    config: SearchConfig,
    min_length: int,
    max_length: int,
    prefix: tuple[int, ...] = (),
    banned_ids: Sequence[int] = (),
    history: tuple[int, ...] = (),
    log_prob: float = 0.0,
) -> Iterator[ScoredSequence]:
    """Yield all allowed hypotheses. Unfinished ones have the maximum length."""
    length = len(history) + 1
    for i, score in enumerate(table(history)):
        ids = (*history, i)
        forced = length <= len(prefix)
        if score == NEG_INF or (forced and i != prefix[length - 1]):
            continue
        if not forced and (i in banned_ids or (i == eos_id and length < min_length)):
            continue
        # An id after the forced prefix must not complete a repeated n-gram. The prefix itself may repeat n-grams.
        size = config.no_repeat_ngram_size
        if not forced and size and i != eos_id and ids[-size:] in {ids[j : j + size] for j in range(length - size)}:
            continue
        total = log_prob + score
        if i == eos_id:
            yield ScoredSequence(True, total / length_penalty(length, config), history, total)
        elif length == max_length:
            yield ScoredSequence(False, total / length_penalty(length, config), ids, total)
        else:
            yield from all_sequences(table, eos_id, config, min_length, max_length, prefix, banned_ids, ids, total)


def best(found: Iterator[ScoredSequence], count: int) -> list[ScoredSequence]:
    """Return the best `count` hypotheses: finished ones first, then by score."""
    return sorted(found, key=lambda f: (f.finished, f.score), reverse=True)[:count]


def greedy(
    table: Table,
    eos_id: int,
    config: SearchConfig,
    min_length: int,
    max_length: int,
    prefix: tuple[int, ...] = (),
    banned_ids: Sequence[int] = (),
) -> ScoredSequence:
    """Append the best allowed id until eos or the maximum length, or until no id is allowed."""
    ids: tuple[int, ...] = ()
    total = 0.0
    for length in range(1, max_length + 1):
        scores = list(table(ids))
        if length <= len(prefix):
            scores = [s if i == prefix[length - 1] else NEG_INF for i, s in enumerate(scores)]
        else:
            for i in range(len(scores)):
                size = config.no_repeat_ngram_size
                seen = {(*ids, i)[j : j + size] for j in range(length - size)} if size else set()
                too_early = i == eos_id and length < min_length
                if i in banned_ids or too_early or (i != eos_id and size and (*ids, i)[-size:] in seen):
                    scores[i] = NEG_INF
        if max(scores) == NEG_INF:
            break
        chosen = scores.index(max(scores))
        total += scores[chosen]
        if chosen == eos_id:
            return ScoredSequence(True, total / length_penalty(length, config), ids, total)
        ids = (*ids, chosen)
    return ScoredSequence(False, total / length_penalty(len(ids), config) if ids else 0.0, ids, total)
