"""The best candidates, with ties broken by the lower index.

`torch.topk` may return any of several equal elements, and on a GPU its choice can change with the shape of the batch.
Half-precision scores are full of equal elements, so here the order is part of the definition.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from seqlab.search.constraints import NEVER


class Candidates(NamedTuple):
    """Continuations of the rows of A sentences, n for each, best first. All fields (A, n)."""

    log_probs: Tensor
    """The sum over all ids of the hypothesis, -inf where there is no such candidate."""
    parents: Tensor
    """The row that is continued, an index into all rows (N)."""
    ids: Tensor
    id_log_probs: Tensor
    """The step score of the last id alone."""

    def take(self, order: Tensor) -> "Candidates":
        """Reorder or select the candidates of each sentence. order: (A, n')."""
        return Candidates(*(field.gather(1, order) for field in self))


def top_ids(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the `count` highest scores of each row and their ids: (N, count) twice, best first, lower ids before equals.

    What is not finite is not ordered: of several -inf any may be returned. `count` is at most W.
    """
    width = scores.shape[1]
    values, ids = scores.topk(min(count + 1, width), dim=1)
    if width > count:
        # Equal scores on both sides of the cut: topk left out some that may have lower ids.
        cut = values[:, count - 1]
        rows = ((cut == values[:, count]) & (cut > NEVER)).nonzero()[:, 0]
        values, ids = values[:, :count], ids[:, :count]
        if len(rows):
            ids = ids.index_copy(0, rows, _ids_at_the_cut(scores[rows], values[rows], ids[rows]))
    ids = ids.sort(dim=1).values
    values, order = scores.gather(1, ids).sort(dim=1, descending=True, stable=True)
    return values, ids.gather(1, order)


def _ids_at_the_cut(scores: Tensor, values: Tensor, ids: Tensor) -> Tensor:
    """Replace the ids whose value equals the last one by the lowest ids with that value. values, ids: (N, count)."""
    width, count = scores.shape[1], values.shape[1]
    cut = values[:, -1:]
    position = torch.arange(width, dtype=torch.int32, device=scores.device)
    lowest = torch.where(scores == cut, position, width).topk(count, dim=1, largest=False, sorted=True).values
    rank_among_equals = (values == cut).cumsum(dim=1) - 1
    return torch.where(values == cut, lowest.long().gather(1, rank_among_equals.clamp(min=0)), ids)


def best_candidates(scores: Tensor, log_probs: Tensor, count: int) -> Candidates:
    """Find the `count` best continuations of each sentence, ties broken by the lower row, then by the lower id.

    scores: (A * R, W), the step scores of R contiguous rows per sentence. log_probs: (A, R), the sums so far.
    Where a sentence has fewer continuations, candidates of log-probability -inf fill up.
    """
    num_sentences, num_rows = log_probs.shape
    values, ids = top_ids(scores, min(count, scores.shape[1]))
    totals = (log_probs.view(-1, 1) + values).view(num_sentences, -1)  # (A, R * count)
    available = totals.shape[1]
    totals = pad(totals, (0, max(0, count - available)), value=NEVER)
    totals, order = totals.sort(dim=1, descending=True, stable=True)
    order = order[:, :count].clamp(max=available - 1)
    first_row = num_rows * torch.arange(num_sentences, device=scores.device)
    return Candidates(
        log_probs=totals[:, :count],
        parents=first_row[:, None] + order // values.shape[1],
        ids=ids.view(num_sentences, -1).gather(1, order),
        id_log_probs=values.view(num_sentences, -1).gather(1, order),
    )
