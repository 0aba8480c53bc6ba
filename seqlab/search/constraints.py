"""Constraints on hypotheses: pure functions over the scores (N, W) of the next id."""

from collections.abc import Sequence

import torch
from torch import Tensor

from seqlab.models.outputs import NEG_INF

NOT_FORCED = -1
"""Value for a row or position without a forced id."""


def ban_ids(scores: Tensor, ids: Tensor) -> Tensor:
    """Forbid some ids in all rows. ids: 1D int64.

    It changes `scores` in place: copying them would take longer than finding the best.
    """
    return scores.index_fill_(1, ids, NEG_INF)


def ban_early_end(scores: Tensor, too_short: Tensor, eos_id: int) -> Tensor:
    """Forbid eos in rows that are shorter than their minimum length. too_short: (N,) bool."""
    banned = scores.clone()
    banned[:, eos_id] = scores[:, eos_id].masked_fill(too_short, NEG_INF)
    return banned


def ban_repeated_ngrams(scores: Tensor, ids: Tensor, size: int) -> Tensor:
    """Forbid each id that would complete an n-gram of this size that the row already contains. ids: (N, T) so far."""
    if ids.shape[1] < size:
        return scores
    ngrams = ids.unfold(1, size, 1)  # (N, T - size + 1, size)
    recent = ids[:, ids.shape[1] - size + 1 :]  # (N, size - 1)
    rows, positions = (ngrams[:, :, :-1] == recent[:, None]).all(dim=2).nonzero(as_tuple=True)
    return scores.index_put((rows, ngrams[rows, positions, -1]), scores.new_tensor(NEG_INF))


def has_repeated_ngram(ids: Sequence[int], size: int) -> bool:
    """Return whether a row of ids contains an n-gram of this size twice."""
    ngrams = [tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)]
    return len(set(ngrams)) < len(ngrams)


def force_ids(scores: Tensor, free_scores: Tensor, forced: Tensor) -> Tensor:
    """Allow only the forced id in rows that have one; other constraints do not apply to it.

    forced: (N,) int64, `NOT_FORCED` for a row without a forced id. free_scores: (N, W), the scores before the other
    constraints, which a forced id keeps.
    """
    column = forced.clamp(min=0)[:, None]  # (N, 1)
    only = torch.full_like(scores, NEG_INF).scatter(1, column, free_scores.gather(1, column))
    return torch.where(forced[:, None] == NOT_FORCED, scores, only)


def prefix_table(
    prefixes: Sequence[Sequence[int]] | None,
    max_lengths: Sequence[int],
    vocab_size: int,
    eos_id: int,
    sources: Sequence[Sequence[int]] | None = None,
) -> Tensor:
    """Check the forced prefixes, one per sentence, and pad them with `NOT_FORCED`: (B, longest prefix) int64.

    Args:
        prefixes: ids of each prefix; None for no prefixes.
        max_lengths: (B,) maximum lengths of the hypotheses.
        vocab_size: size of the vocabulary.
        eos_id: id of eos.
        sources: ids of each source. Ids from `vocab_size` up are copied words: a prefix may hold those of its source.

    Raises:
        ValueError: the number of prefixes is wrong; a prefix holds eos or an unknown id, or leaves no room for eos
            within the maximum length.
    """
    if prefixes is None:
        prefixes = [()] * len(max_lengths)
    if len(prefixes) != len(max_lengths):
        raise ValueError(f"`prefixes` must have one entry per sentence ({len(max_lengths)}), but has {len(prefixes)}.")
    for i, (prefix, limit) in enumerate(zip(prefixes, max_lengths, strict=True)):
        if eos_id in prefix:
            raise ValueError(f"`prefixes[{i}]` must not contain `eos_id` ({eos_id}), but is {list(prefix)} instead.")
        copied = () if sources is None else sources[i]
        for invalid in (n for n in prefix if not 0 <= n < vocab_size and n not in copied):
            raise ValueError(f"`prefixes[{i}]` must hold ids from 0 to {vocab_size - 1}, but holds {invalid}.")
        if len(prefix) >= limit:
            raise ValueError(
                f"`prefixes[{i}]` has {len(prefix)} ids, which leaves no room for eos within the maximum length of "
                f"{limit} for this sentence. Raise `max_length` or `max_length_offset`, or shorten the prefix."
            )
    width = max((len(prefix) for prefix in prefixes), default=0)
    rows = [[*prefix, *[NOT_FORCED] * (width - len(prefix))] for prefix in prefixes]
    return torch.tensor(rows, dtype=torch.int64).view(len(rows), width)
