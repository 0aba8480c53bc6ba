"""Reference search that tries all sequences: slow, but obviously correct."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from seqlab.search.config import SearchConfig

NEG_INF = float("-inf")
Table = Callable[[tuple[int, ...]], Sequence[float]]
"""Function from a prefix to the scores of the next id."""


class Found(NamedTuple):
    finished: bool
    score: float
    ids: tuple[int, ...]
    log_prob: float


def penalty(length: int, config: SearchConfig) -> float:
    base = {"plain": length, "gnmt": (5 + length) / 6}[config.length_penalty]
    return base**config.length_alpha


def repeats(ids: Sequence[int], size: int) -> bool:
    ngrams = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
    return size > 0 and len(set(ngrams)) < len(ngrams)


def all_sequences(
    table: Table,
    eos_id: int,
    config: SearchConfig,
    shortest: int,
    longest: int,
    prefix: tuple[int, ...] = (),
    banned_ids: Sequence[int] = (),
    history: tuple[int, ...] = (),
    log_prob: float = 0.0,
) -> Iterator[Found]:
    """Yield all allowed hypotheses; those without eos only at the maximum length."""
    length = len(history) + 1
    for i, score in enumerate(table(history)):
        ids = (*history, i)
        forced = length <= len(prefix)
        if score == NEG_INF or (forced and i != prefix[length - 1]):
            continue
        if not forced and (i in banned_ids or (i == eos_id and length < shortest)):
            continue
        # Repetitions within a forced prefix are allowed, but not those that the last id completes.
        size = config.no_repeat_ngram_size
        if not forced and size and i != eos_id and ids[-size:] in {ids[j : j + size] for j in range(length - size)}:
            continue
        total = log_prob + score
        if i == eos_id:
            yield Found(True, total / penalty(length, config), history, total)
        elif length == longest:
            yield Found(False, total / penalty(length, config), ids, total)
        else:
            yield from all_sequences(table, eos_id, config, shortest, longest, prefix, banned_ids, ids, total)


def best(found: Iterator[Found], count: int) -> list[Found]:
    """Return the best hypotheses: finished ones first, then by score."""
    return sorted(found, key=lambda f: (f.finished, f.score), reverse=True)[:count]


def greedy(
    table: Table,
    eos_id: int,
    config: SearchConfig,
    shortest: int,
    longest: int,
    prefix: tuple[int, ...] = (),
    banned_ids: Sequence[int] = (),
) -> Found:
    """Take the best allowed id until eos, the maximum length, or no id is allowed."""
    ids: tuple[int, ...] = ()
    total = 0.0
    for length in range(1, longest + 1):
        scores = list(table(ids))
        if length <= len(prefix):
            scores = [s if i == prefix[length - 1] else NEG_INF for i, s in enumerate(scores)]
        else:
            for i in range(len(scores)):
                size = config.no_repeat_ngram_size
                seen = {(*ids, i)[j : j + size] for j in range(length - size)} if size else set()
                too_early = i == eos_id and length < shortest
                if i in banned_ids or too_early or (i != eos_id and size and (*ids, i)[-size:] in seen):
                    scores[i] = NEG_INF
        if max(scores) == NEG_INF:
            break
        chosen = scores.index(max(scores))
        total += scores[chosen]
        if chosen == eos_id:
            return Found(True, total / penalty(length, config), ids, total)
        ids = (*ids, chosen)
    return Found(False, total / penalty(len(ids), config) if ids else 0.0, ids, total)
