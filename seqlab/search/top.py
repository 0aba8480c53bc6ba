"""Deterministic top-k: ties are broken by the lower index.

`torch.topk` may return any of several equal elements, and on a GPU its choice can change with the shape of the batch.
Half-precision scores have many equal elements, so here the order of equal elements is defined.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from seqlab.models.outputs import NEG_INF

COLUMNS_PER_GROUP = 8
"""Columns whose maximum represents them in a first search; see `_fast_topk`."""


class Candidates(NamedTuple):
    """The n best continuations of each of A sentences, best first. Fields (A, n)."""

    log_probs: Tensor
    """Sum of the step scores of the hypothesis; -inf for an unused slot."""
    parents: Tensor
    """Index of the row that is extended, among all N rows."""
    ids: Tensor
    id_log_probs: Tensor
    """Step score of the last id."""

    def reorder(self, order: Tensor) -> "Candidates":
        """Reorder or select the candidates of each sentence. order: (A, n')."""
        return Candidates(*(field.gather(1, order) for field in self))


def top_ids(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the `count` highest scores of each row and their ids: (N, count) each, best first, ties by lowest id.

    Ties of -inf are broken arbitrarily. `count` is at most W.
    """
    if count < scores.shape[1]:
        values, ids = _fast_topk(scores, count + 1)
        # If the first score that is left out equals the last one kept, lower ids may have been left out.
        threshold = values[:, count - 1]
        rows = ((threshold == values[:, count]) & (threshold > NEG_INF)).nonzero()[:, 0]
        values, ids = values[:, :count], ids[:, :count]
        if len(rows):
            ids = ids.index_copy(0, rows, _lowest_tied_ids(scores[rows], values[rows], ids[rows]))
        ids = ids.sort(dim=1).values
    else:
        ids = torch.arange(count, device=scores.device).expand(len(scores), -1)
    values, order = scores.gather(1, ids).sort(dim=1, descending=True, stable=True)
    return values, ids.gather(1, order)


def _fast_topk(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Compute `torch.topk` over many columns in less than half the time, by searching only the best groups of columns.

    Every `num_groups`-th column belongs to the same group. The `count` highest values are in the `count` groups with
    the highest maxima, or in the remaining columns, which are in no group.
    """
    width = scores.shape[1]
    num_groups = width // COLUMNS_PER_GROUP
    if num_groups < 4 * count:
        return scores.topk(count, dim=1)
    grouped = scores[:, : num_groups * COLUMNS_PER_GROUP].unflatten(1, (COLUMNS_PER_GROUP, num_groups))
    groups = grouped.amax(dim=1).topk(count, dim=1, sorted=False).indices  # (N, count)
    offsets = torch.arange(0, num_groups * COLUMNS_PER_GROUP, num_groups, device=scores.device)
    remaining = torch.arange(num_groups * COLUMNS_PER_GROUP, width, device=scores.device)
    columns = torch.cat(
        [(groups[:, :, None] + offsets).flatten(1), remaining.expand(len(scores), -1)], dim=1
    )  # (N, count * COLUMNS_PER_GROUP + remaining)
    values, indices = scores.gather(1, columns).topk(count, dim=1)
    return values, columns.gather(1, indices)


def _lowest_tied_ids(scores: Tensor, values: Tensor, ids: Tensor) -> Tensor:
    """Replace the ids whose value equals the last value by the lowest ids with this value. values, ids: (N, count)."""
    is_tied = values == values[:, -1:]
    rows, tied_ids = (scores == values[:, -1:]).nonzero(as_tuple=True)  # in the order of rows, then ids
    first = torch.searchsorted(rows, torch.arange(len(scores), device=scores.device))
    rank = torch.arange(len(rows), device=scores.device) - first[rows]
    is_kept = rank < is_tied.sum(dim=1)[rows]
    # In each row as many ids are kept as are tied, so they fill the tied elements row by row.
    return ids.masked_scatter(is_tied, tied_ids[is_kept])


def best_candidates(scores: Tensor, log_probs: Tensor, count: int) -> Candidates:
    """Find the `count` best continuations of each sentence; ties go to the lower row, then to the lower id.

    scores: (A * R, W), step scores of R contiguous rows per sentence. log_probs: (A, R), sums of the scores so far. If
    a sentence has fewer continuations, the remaining candidates have a log-probability of -inf.
    """
    num_sentences, num_rows = log_probs.shape
    values, ids = top_ids(scores, min(count, scores.shape[1]))
    totals = (log_probs.reshape(-1, 1) + values).view(num_sentences, -1)  # (A, R * count)
    available = totals.shape[1]
    totals = pad(totals, (0, max(0, count - available)), value=NEG_INF)
    totals, order = totals.sort(dim=1, descending=True, stable=True)
    order = order[:, :count].clamp(max=available - 1)
    first_row = num_rows * torch.arange(num_sentences, device=scores.device)
    return Candidates(
        log_probs=totals[:, :count],
        parents=first_row[:, None] + order // values.shape[1],
        ids=ids.view(num_sentences, -1).gather(1, order),
        id_log_probs=values.view(num_sentences, -1).gather(1, order),
    )
