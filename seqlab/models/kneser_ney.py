"""Interpolated modified Kneser-Ney smoothing (Chen & Goodman 1998), vectorized in numpy.

The equations are those of Heafield et al. 2013 (aclanthology.org/P13-2121), as in KenLM. For a context c, the id w
after it, and the n-gram cw:

    a(g)     = the count of the n-gram g, if it has the highest order or starts a document;
               otherwise the number of distinct ids that precede it
    p(w | c) = (a(cw) - D(a(cw))) / sum_x a(cx) + gamma(c) p(w | c without its first id)
    gamma(c) = sum_x D(a(cx)) / sum_x a(cx)

The empty context backs off to the uniform distribution over the ids that can be predicted. Each order has three
discounts: D(1), D(2) and D(3 or more). Shapes: P positions of the text, E n-grams of one order, V vocabulary.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]
Int32s = NDArray[np.int32]
"""One value per position of the text, where 32 bits save memory: ids, and indices of n-grams."""
Floats = NDArray[np.float64]
TextBoundaries = Literal["lines", "continuous"]
"""Boundaries of contexts. `lines`: each document has a bos and an eos, and no context crosses them. `continuous`: the
documents form one text with an eos before it and after each document, and contexts cross these."""
FALLBACK_DISCOUNTS = np.array([0.0, 0.5, 1.0, 1.5])
"""Discounts of the counts 0, 1, 2 and 3 or more, as in KenLM, for texts too small or too regular to estimate them."""


class TrieLevel(NamedTuple):
    """All n-grams of one order, in backoff form: one level of a trie in flat arrays."""

    keys: Ints
    """(E,) ascending: `context * V + last id`; `context` is the index of the n-gram without its last id in the previous
    level. Level 1 holds every id, and its keys are the ids."""
    log_probs: Floats
    """(E,): log p(last id | the ids before it) in nats, interpolated with all lower orders; -inf for probability 0."""
    backoffs: Floats
    """(E,): log gamma in nats of the n-gram as a context, 0 if no n-gram extends it; (0,) at the last level."""


class _Counts(NamedTuple):
    """The counts of all n-grams of one order."""

    keys: Ints
    """(E,): as in `TrieLevel`."""
    suffixes: Int32s
    """(E,): the index, in the previous level, of each n-gram without its first id."""
    seen: Ints
    """(E,): the count of each n-gram."""
    adjusted: Ints
    """(E,): the adjusted count a(g) of each n-gram."""


def estimate(
    documents: Iterable[ArrayLike],
    *,
    order: int,
    vocab_size: int,
    pad_id: int,
    bos_id: int,
    eos_id: int,
    boundaries: TextBoundaries = "lines",
    min_counts: Sequence[int] = (),
    fallback_level: int = logging.WARNING,
) -> list[TrieLevel]:
    """Estimate an n-gram model with modified Kneser-Ney smoothing: the levels of a trie, from order 1 to `order`.

    In each context the probabilities of all ids except `pad_id` and `bos_id`, which are never predicted, are above 0
    and sum to 1. There are fewer levels than `order` if no document is that long.

    Args:
        documents: rows of ids without pad, bos and eos.
        order: ids of the longest n-grams.
        vocab_size: V.
        pad_id: the id of padding, which does not occur in documents.
        bos_id: the id at the start of each document, if `boundaries` is `lines`.
        eos_id: the id at the end of each document.
        boundaries: where contexts end.
        min_counts: n-grams of k ids with a count below `min_counts[k - 1]` are pruned, and their probability mass goes
            to the lower order. The last value also applies to longer n-grams. If empty, nothing is pruned.
        fallback_level: level of the messages on orders whose discounts cannot be estimated.

    Raises:
        ValueError: there are no documents, a document holds a special id or one above the vocabulary, or `boundaries`
            is invalid.
    """
    ids, history = _join(documents, vocab_size, (pad_id, bos_id, eos_id), boundaries)
    return _smooth(_count(ids, history, order, vocab_size), vocab_size, [pad_id, bos_id], min_counts, fallback_level)


def _smooth(
    counted: Iterable[_Counts],
    vocab_size: int,
    excluded_ids: Sequence[int],
    min_counts: Sequence[int],
    fallback_level: int,
) -> list[TrieLevel]:
    """Turn the counts of each order into the levels of a trie without empty levels."""
    levels: list[TrieLevel] = []
    lower = np.full(1, 1 / (vocab_size - len(excluded_ids)))  # probabilities of the previous order
    kept_before, new_index = np.full(1, True), np.zeros(1, np.int64)  # previous order: n-grams kept, their new indices
    for order, counts in enumerate(counted, start=1):
        min_count = min_counts[min(order, len(min_counts)) - 1] if min_counts else 1
        kept = counts.seen >= min_count if levels else np.full(vocab_size, True)
        if not kept.any():
            break
        discounts = _discounts(counts.adjusted, order, fallback_level)
        probs, gamma = _interpolate(counts, kept, discounts, lower, vocab_size)
        if levels:
            levels[-1] = levels[-1]._replace(backoffs=np.log(gamma[kept_before]))
        else:
            probs[excluded_ids] = 0
        contexts, last_ids = np.divmod(counts.keys[kept], vocab_size)
        with np.errstate(divide="ignore"):
            log_probs = np.minimum(np.log(probs[kept]), 0)  # rounding may raise a sum above 1
        levels.append(TrieLevel(new_index[contexts] * vocab_size + last_ids, log_probs, np.zeros(0)))
        lower, kept_before, new_index = probs, kept, np.cumsum(kept) - 1
    return levels


def _join(
    documents: Iterable[ArrayLike], vocab_size: int, special_ids: tuple[int, int, int], boundaries: TextBoundaries
) -> tuple[Int32s, Int32s]:
    """Concatenate the documents: ids (P,), and the number of ids in the context of each position (P,).

    An id without a context is not predicted: it starts the text or a document.
    """
    if boundaries not in get_args(TextBoundaries):
        raise ValueError(f"`boundaries` must be `lines` or `continuous`, but is `{boundaries}` instead.")
    rows = [np.asarray(document, np.int32) for document in documents]
    if not rows:
        raise ValueError("`documents` must hold at least one document, but is empty.")
    text, lengths = np.concatenate(rows), np.fromiter(map(len, rows), np.int64, len(rows))
    _, bos_id, eos_id = special_ids
    if len(text) + 2 * len(rows) > np.iinfo(np.int32).max:
        raise ValueError(f"`documents` must hold fewer than 2**31 ids, but hold {len(text)}.")
    if len(text) and not 0 <= text.min() <= text.max() < vocab_size:
        raise ValueError(f"Ids must be from 0 to {vocab_size - 1}, but are from {text.min()} to {text.max()} instead.")
    for special_id in np.intersect1d(text, special_ids):
        raise ValueError(f"Documents must not hold pad, bos or eos (ids {special_ids}), but one holds {special_id}.")
    documents_before = np.repeat(np.arange(len(rows)), lengths)
    if boundaries == "lines":
        ids = np.full(len(text) + 2 * len(rows), eos_id, np.int32)
        ids[np.arange(len(text)) + 2 * documents_before + 1] = text
        starts = np.cumsum(lengths + 2) - (lengths + 2)
        ids[starts] = bos_id
    else:
        ids = np.full(1 + len(text) + len(rows), eos_id, np.int32)
        ids[np.arange(len(text)) + documents_before + 1] = text
        starts = np.zeros(1, np.int64)
    starts = starts.astype(np.int32)
    return ids, np.arange(len(ids), dtype=np.int32) - np.repeat(starts, np.diff(starts, append=len(ids)))


def _count(ids: Int32s, history: Int32s, order: int, vocab_size: int) -> Iterator[_Counts]:
    """Count the n-grams of each order from 1 to `order`, except those that end with an id that is not predicted.

    The key of an n-gram combines the index of its first k - 1 ids in the previous level with its last id. Sorting the
    keys of all positions gives a level, and for each position the index that the key of the next level needs.
    """
    seen = np.bincount(ids[history > 0], minlength=vocab_size)
    level = _Counts(np.arange(vocab_size), np.zeros(vocab_size, np.int32), seen, seen)
    index = ids  # (P,): index, in its level, of the n-gram that ends at each position
    for length in range(2, order + 1):
        positions = np.flatnonzero(history >= length - 1)
        keys, entries = np.unique(index[positions - 1] * np.int64(vocab_size) + ids[positions], return_inverse=True)
        suffixes = np.empty(len(keys), np.int32)
        suffixes[entries] = index[positions]
        # Each n-gram of this order adds one distinct id before its suffix. An n-gram at the start of a document or text
        # has no id before it, so there each occurrence counts.
        first = index[(history == length - 2) & (history > 0)]
        adjusted = np.bincount(np.concatenate([suffixes, first]), minlength=len(level.keys))
        yield level._replace(adjusted=adjusted)
        seen = np.bincount(entries, minlength=len(keys))
        level = _Counts(keys, suffixes, seen, seen)
        index = np.zeros_like(ids)
        index[positions] = entries
    yield level


def _discounts(counts: Ints, order: int, fallback_level: int) -> Floats:
    """Estimate the discounts (4,) of the counts 0, 1, 2 and 3 or more of one order; Chen & Goodman's equation 26.

    Returns `FALLBACK_DISCOUNTS` if no n-gram has a count of 1, 2 or 3, or if a discount is not above 0.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6)  # n[j]: number of n-grams with count j
    if n[1:4].all():
        j = np.arange(1, 4)
        discounts: Floats = j - (j + 1) * n[1] / (n[1] + 2 * n[2]) * n[j + 1] / n[j]
        if (discounts > 0).all():
            return np.concatenate([np.zeros(1), discounts])
    logger.log(
        fallback_level,
        "The counts of %d-grams are too few or too regular to estimate discounts (%s n-grams have the counts 1, 2, 3 "
        "and 4): using %s.",
        order,
        ", ".join(map(str, n[1:5])),
        ", ".join(map(str, FALLBACK_DISCOUNTS[1:])),
    )
    return FALLBACK_DISCOUNTS


def _interpolate(
    counts: _Counts, kept: NDArray[np.bool_], discounts: Floats, lower: Floats, vocab_size: int
) -> tuple[Floats, Floats]:
    """Compute the probabilities (E,) of one order, and the gamma of each n-gram of the previous order.

    `lower` holds the probabilities of the previous order. N-grams that are not kept are discounted entirely. Gamma is 1
    for a context that no n-gram extends.
    """
    contexts = counts.keys // vocab_size
    removed = np.where(kept, discounts[np.minimum(counts.adjusted, 3)], counts.adjusted)
    totals = np.bincount(contexts, counts.adjusted, minlength=len(lower))
    gamma = np.ones(len(lower))
    np.divide(np.bincount(contexts, removed, minlength=len(lower)), totals, out=gamma, where=totals > 0)
    return (counts.adjusted - removed) / totals[contexts] + gamma[contexts] * lower[counts.suffixes], gamma
