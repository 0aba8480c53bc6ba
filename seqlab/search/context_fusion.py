"""A language model of few symbols, as an n-gram model, beside searches whose rows do not all go on at once.

Shapes: B sentences, K prefixes, C symbols that may follow; N texts of T symbols at most.
"""

import torch
from torch import Tensor

from seqlab.search.fusion import WeightedLm


class FusedPrefixes:
    """What a language model adds to the prefixes in a beam, and knows of them (Hannun et al. 2014, arXiv:1408.2873)."""

    def __init__(self, lm: WeightedLm, sentences: int, beam_size: int, device: torch.device) -> None:
        """Begin with prefixes that say nothing."""
        self.lm, self.beam_size = lm, beam_size
        self.contexts = lm.contexts(sentences, device)[:, None].expand(-1, beam_size, -1)
        """(B, K, order); between `choices` and `keep` those of all choices, as what is added."""
        self.added = torch.zeros(sentences, beam_size, dtype=torch.float64, device=device)
        """(B, K): its weighted log-probabilities, and the rewards of the symbols."""

    def choices(self, ids: Tensor) -> Tensor:
        """Give what is added to the prefixes as they are, and to each with one more of ids (B, C): (B, K + KC)."""
        assert self.added.size(1) == self.beam_size, "`keep` has to follow"
        ids = ids[:, None].expand(-1, self.beam_size, -1)
        shares, contexts = self.lm.read(ids, self.contexts[:, :, None])
        self.contexts = torch.cat((self.contexts, contexts.flatten(1, 2)), 1)
        self.added = torch.cat((self.added, (self.added[..., None] + shares).flatten(1)), 1)
        return self.added

    def keep(self, places: Tensor) -> None:
        """Keep those of the choices that stand at these places (B, K)."""
        self.contexts = self.contexts.gather(1, places[..., None].expand(-1, -1, self.contexts.size(2)))
        self.added = self.added.gather(1, places)

    def whole(self) -> Tensor:
        """Give what is added to prefixes that end here: (B, K)."""
        ends = torch.full_like(self.contexts[..., 0], self.lm.eos_id)
        return self.added + self.lm.read(ends, self.contexts)[0]


def fused_shares(lm: WeightedLm, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Give what a language model adds for each symbol of texts, ids (N, T) of which the first `lengths` (N,) are read.

    Returns:
        Of each symbol (N, T), 0 behind the last; and of each end (N,).
    """
    contexts, shares = lm.contexts(len(ids), ids.device), []
    for place, following in enumerate(ids.unbind(1)):
        is_there = place < lengths
        share, behind = lm.read(torch.where(is_there, following, lm.eos_id), contexts)
        contexts = torch.where(is_there[:, None], behind, contexts)
        shares.append(share.masked_fill(~is_there, 0.0))
    ends, _ = lm.read(torch.full_like(lengths, lm.eos_id), contexts)
    return torch.stack(shares, 1) if shares else ends.new_zeros(ids.shape), ends
