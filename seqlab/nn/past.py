"""What a Transformer decoder remembers of the ids it has read: keys and values, and which of them are whose."""

import copy

import torch
from torch import Tensor

from seqlab.nn import masks
from seqlab.nn.attention import DecodingStep, KeyValueCache


def kept_sentences(rows: Tensor, rows_before: int, sentences: int) -> Tensor | None:
    """Tell which sentences (B',) rows (N',) int64 keep, of N that belong to B sentences in turn, equally many each.

    None where they are those from before. Where rows are unevenly shared, each gets a copy of its sentence.
    """
    sentence_of_row = torch.div(rows, rows_before // sentences, rounding_mode="floor")
    kept, counts = torch.unique_consecutive(sentence_of_row, return_counts=True)
    if not bool((counts == counts[:1]).all()):
        kept = sentence_of_row
    stays = kept.numel() == sentences and torch.equal(kept, torch.arange(sentences, device=kept.device))
    return None if stays else kept


class Past:
    """The caches of all layers for N rows: hypotheses of a sentence share one, and a mask says which past is whose."""

    def __init__(self, num_layers: int, sentences: int, *, may_share: bool = True) -> None:
        """`may_share`: whether rows that come from one row share its cache, where all sentences have equally many.

        It must be False where the rows are already hypotheses, which a search repeats and drops unevenly: whether they
        happen to be even depends on the other sentences, and a shared cache rounds differently from one of one's own.
        """
        self.may_share = may_share
        self.caches = [KeyValueCache() for _ in range(num_layers)]
        self.sentences = sentences
        """B."""
        self.rows = sentences
        """N."""
        self.length = 0
        """Ids read so far."""
        self.own: Tensor | None = None
        """(N, L) bool: which entries of its sentence's cache are a hypothesis's past; None: all of them."""

    def begin_step(self, device: torch.device) -> DecodingStep:
        """Count the next step and the entries that it will append to the caches."""
        position, beam, bias = self.length, self.rows // self.sentences, None
        if self.own is None and beam > 1:
            self.own = torch.ones(self.rows, self.caches[0].length, dtype=torch.bool, device=device)
        if self.own is not None:
            new = torch.eye(beam, dtype=torch.bool, device=device).repeat(self.sentences, 1)
            self.own = torch.cat([self.own, new], dim=1)
            bias = masks.additive(self.own.view(self.sentences, 1, beam, -1))
        self.length += 1
        return DecodingStep(position, self.sentences, self.rows, bias)

    def select(self, rows: Tensor) -> Tensor | None:
        """Keep, reorder or repeat rows (N',); caches are copied only where a sentence leaves.

        Returns which sentences (B',) are now there, None where they are those from before.
        """
        if self.may_share:
            kept = kept_sentences(rows, self.rows, self.sentences)
        else:
            stays = rows.numel() == self.rows and torch.equal(rows, torch.arange(self.rows, device=rows.device))
            kept = None if stays else rows
        if self.own is not None:
            self.own = self.own[rows]
        self.rows = rows.numel()
        if kept is None:
            return None
        self.sentences = kept.numel()
        for cache in self.caches:  # one after the other, so that one copy's memory serves the next
            cache.select(kept)
        return kept

    def fork(self) -> "Past":
        """Copy, so that changes to one leave the other alone."""
        twin = copy.copy(self)
        twin.caches = [cache.fork() for cache in self.caches]
        return twin
