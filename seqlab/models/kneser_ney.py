"""Interpolated modified Kneser-Ney smoothing (Chen & Goodman 1998), in numpy without Python per token.

The equations are those of Heafield et al. 2013 (aclanthology.org/P13-2121), which KenLM computes. With c a context, w
the id that follows it, and cw the n-gram of both:

    a(g)     = how often the n-gram g was seen, where it has the highest order or begins a document
               how many different ids were seen before it, otherwise
    p(w | c) = (a(cw) - D(a(cw))) / sum_x a(cx) + gamma(c) p(w | c without its first id)
    gamma(c) = sum_x D(a(cx)) / sum_x a(cx)

down to the empty context, whose lower order is uniform over the ids that can be predicted. An order has three discounts
D(1), D(2) and D(3 or more). Shapes: P positions of the text, E n-grams of one length, V vocabulary.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]
Places = NDArray[np.int32]
"""Ids, and indices of n-grams, of which there are as many as positions: half the memory of `Ints`."""
Floats = NDArray[np.float64]
Borders = Literal["lines", "continuous"]
"""Where a context ends. `lines`: each document begins with bos and ends with eos, and no context crosses that;
`continuous`: one text begins after an eos, each document of it ends with eos, and contexts go on through them."""
FALLBACK_DISCOUNTS = np.array([0.0, 0.5, 1.0, 1.5])
"""Of the counts 0, 1, 2 and more, where the text is too small or too regular to estimate them; KenLM's are the same."""


class TrieLevel(NamedTuple):
    """All n-grams of one length, in backoff form: what a trie in flat arrays holds at one depth."""

    keys: Ints
    """(E,) ascending: `context * V + last id`, where `context` is the index of the n-gram without its last id in the
    level before. Level 1 holds every id, so that a key there is the id itself."""
    log_probs: Floats
    """(E,): log p(last id | the ids before it) in nats, interpolated with all lower orders; -inf for never."""
    backoffs: Floats
    """(E,): log gamma in nats of the n-gram as a context, 0 where nothing was seen after it; (0,) at the last level."""


class _Counts(NamedTuple):
    """The counts of all n-grams of one length."""

    keys: Ints
    """(E,): as in `TrieLevel`."""
    suffixes: Places
    """(E,): the index of each n-gram without its first id in the level before."""
    seen: Ints
    """(E,): how often each was seen."""
    adjusted: Ints
    """(E,): a(g)."""


def estimate(
    documents: Iterable[ArrayLike],
    *,
    order: int,
    vocab_size: int,
    pad_id: int,
    bos_id: int,
    eos_id: int,
    borders: Borders = "lines",
    min_counts: Sequence[int] = (),
) -> list[TrieLevel]:
    """Estimate the probabilities of all n-grams of up to `order` ids: the levels of a trie, shortest n-grams first.

    For every context the probabilities of all ids but `pad_id` and `bos_id`, which are never predicted, are above 0 and
    sum to 1. There are fewer levels than `order` where no document is that long.

    Args:
        documents: rows of ids without pad, bos and eos.
        order: ids of the longest n-grams.
        vocab_size: V.
        pad_id: an id that stands nowhere in a text.
        bos_id: what a document begins with when `borders` is `lines`.
        eos_id: what a document ends with.
        borders: where contexts end.
        min_counts: n-grams of k ids that were seen less often than `min_counts[k - 1]` are left out and their mass goes
            to the lower order; its last value counts for all longer n-grams, and none is left out where it is empty.

    Raises:
        ValueError: there is no document, or one holds an id that it must not, or there are no such borders.
    """
    ids, history = _join(documents, vocab_size, (pad_id, bos_id, eos_id), borders)
    return _smooth(_count(ids, history, order, vocab_size), vocab_size, [pad_id, bos_id], min_counts)


def _smooth(
    counted: Iterable[_Counts], vocab_size: int, never: Sequence[int], min_counts: Sequence[int]
) -> list[TrieLevel]:
    """Turn the counts of n-grams of 1, 2, ... ids into the levels of a trie that has no empty level."""
    levels: list[TrieLevel] = []
    lower = np.full(1, 1 / (vocab_size - len(never)))  # what is interpolated with: p of the level before
    kept_before, new_index = np.full(1, True), np.zeros(1, np.int64)  # of the level before, and in it what is kept
    for length, counts in enumerate(counted, start=1):
        least = min_counts[min(length, len(min_counts)) - 1] if min_counts else 1
        kept = counts.seen >= least if levels else np.full(vocab_size, True)
        if not kept.any():
            break
        probs, gamma = _interpolate(counts, kept, _discounts(counts.adjusted, length), lower, vocab_size)
        if levels:
            levels[-1] = levels[-1]._replace(backoffs=np.log(gamma[kept_before]))
        else:
            probs[never] = 0
        contexts, last_ids = np.divmod(counts.keys[kept], vocab_size)
        with np.errstate(divide="ignore"):
            log_probs = np.minimum(np.log(probs[kept]), 0)  # a sum that rounding takes above 1
        levels.append(TrieLevel(new_index[contexts] * vocab_size + last_ids, log_probs, np.zeros(0)))
        lower, kept_before, new_index = probs, kept, np.cumsum(kept) - 1
    return levels


def _join(
    documents: Iterable[ArrayLike], vocab_size: int, special_ids: tuple[int, int, int], borders: Borders
) -> tuple[Places, Places]:
    """Lay the documents end to end: ids (P,), and at each position how many ids before it are its context (P,).

    No context means that the id is not predicted: what the text, or each of its documents, begins with.
    """
    if borders not in get_args(Borders):
        raise ValueError(f"`borders` must be `lines` or `continuous`, but is `{borders}` instead.")
    rows = [np.asarray(document, np.int32) for document in documents]
    if not rows:
        raise ValueError("`documents` must hold at least one document, but there is none.")
    text, lengths = np.concatenate(rows), np.fromiter(map(len, rows), np.int64, len(rows))
    _, bos_id, eos_id = special_ids
    if len(text) + 2 * len(rows) > np.iinfo(np.int32).max:
        raise ValueError(f"`documents` must hold fewer than 2**31 ids, but hold {len(text)}.")
    if len(text) and not 0 <= text.min() <= text.max() < vocab_size:
        raise ValueError(f"ids must be from 0 to {vocab_size - 1}, but are from {text.min()} to {text.max()} instead.")
    for unwanted in np.intersect1d(text, special_ids):
        raise ValueError(f"Documents must not hold pad, bos or eos (ids {special_ids}), but one holds {unwanted}.")
    documents_before = np.repeat(np.arange(len(rows)), lengths)
    if borders == "lines":
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


def _count(ids: Places, history: Places, order: int, vocab_size: int) -> Iterator[_Counts]:
    """Count all n-grams of 1, 2, ... `order` ids, one length at a time; they end where something is predicted.

    An n-gram of k ids is a key made of its first k - 1 ids, as an index in the level before, and the last one: sorting
    the keys of all positions gives each level, and at each position the index that the next level is made from.
    """
    seen = np.bincount(ids[history > 0], minlength=vocab_size)
    level = _Counts(np.arange(vocab_size), np.zeros(vocab_size, np.int32), seen, seen)
    index = ids  # (P,): of the n-gram that ends at each position, among those of its length
    for length in range(2, order + 1):
        places = np.flatnonzero(history >= length - 1)
        keys, entries = np.unique(index[places - 1] * np.int64(vocab_size) + ids[places], return_inverse=True)
        suffixes = np.empty(len(keys), np.int32)
        suffixes[entries] = index[places]
        # Each n-gram of this length is one id that was seen before its suffix. What begins a document, or the text,
        # has nothing before it: there each occurrence counts.
        first = index[(history == length - 2) & (history > 0)]
        before = np.bincount(np.concatenate([suffixes, first]), minlength=len(level.keys))
        yield level._replace(adjusted=before)
        seen = np.bincount(entries, minlength=len(keys))
        level = _Counts(keys, suffixes, seen, seen)
        index = np.zeros_like(ids)
        index[places] = entries
    yield level


def _discounts(counts: Ints, length: int) -> Floats:
    """Estimate what to take from the counts 0, 1, 2 and more of n-grams of one length: (4,); Chen & Goodman's (26).

    Where no n-gram has the count 1, 2 or 3, or a discount is not above 0, all of them are `FALLBACK_DISCOUNTS`.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6)  # n[j]: how many n-grams have count j
    if n[1:4].all():
        j = np.arange(1, 4)
        discounts: Floats = j - (j + 1) * n[1] / (n[1] + 2 * n[2]) * n[j + 1] / n[j]
        if (discounts > 0).all():
            return np.concatenate([np.zeros(1), discounts])
    logger.debug(
        "The counts of %d-grams are too few or too regular to estimate discounts from: taking %s.",
        length,
        ", ".join(map(str, FALLBACK_DISCOUNTS[1:])),
    )
    return FALLBACK_DISCOUNTS


def _interpolate(
    counts: _Counts, kept: NDArray[np.bool_], discounts: Floats, lower: Floats, vocab_size: int
) -> tuple[Floats, Floats]:
    """Compute p (E,) of the n-grams of one length from those of the level before, and gamma of each of the latter.

    What is not kept is discounted entirely. Gamma is 1 where nothing was seen after the context.
    """
    contexts = counts.keys // vocab_size
    removed = np.where(kept, discounts[np.minimum(counts.adjusted, 3)], counts.adjusted)
    totals = np.bincount(contexts, counts.adjusted, minlength=len(lower))
    gamma = np.ones(len(lower))
    np.divide(np.bincount(contexts, removed, minlength=len(lower)), totals, out=gamma, where=totals > 0)
    return (counts.adjusted - removed) / totals[contexts] + gamma[contexts] * lower[counts.suffixes], gamma
