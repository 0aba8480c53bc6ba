"""A language model beside a beam over frames, whose prefixes have different lengths (Hannun et al. 2014,
arXiv:1408.2873).

Shapes: B sentences, K prefixes, C symbols that may follow.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from seqlab.models.interfaces import ContextModel
from seqlab.search.fusion import Fusion


class FusedPrefixes:
    """What a language model adds to the prefixes in a beam, and knows of them."""

    def __init__(self, fusion: Fusion, sentences: int, beam_size: int, device: torch.device) -> None:
        """Begin with prefixes that say nothing."""
        assert isinstance(fusion.lm, ContextModel), "others would have to read all prefixes at once"
        self.fusion, self.lm = fusion, fusion.lm
        contexts = fusion.lm.contexts_behind(fusion.start_lm(sentences, device))
        self.contexts = contexts[:, None].expand(-1, beam_size, -1)
        """(B, K, order)"""
        self.added = torch.zeros(sentences, beam_size, dtype=torch.float64, device=device)
        """(B, K): its weighted log-probabilities, and the rewards of the symbols."""

    def choices(self, ids: Tensor) -> Tensor:
        """Give what is added to the prefixes as they are, and to each with one more of ids (B, C): (B, K + KC)."""
        ids = ids[:, None].expand(-1, self.contexts.size(1), -1)
        more = self.fusion.weight * self.lm.look_up(ids, self.contexts[:, :, None]) + self.fusion.length_reward
        return torch.cat((self.added, (self.added[..., None] + more).flatten(1)), 1)

    def follow(self, parents: Tensor, ids: Tensor, is_longer: Tensor, added: Tensor) -> None:
        """Keep prefixes, some with a symbol more, to which so much is added then: each (B, K)."""
        contexts = self.contexts.gather(1, parents[..., None].expand(-1, -1, self.contexts.size(2)))
        self.contexts = torch.where(is_longer[..., None], self.lm.read(ids, contexts), contexts)
        self.added = added

    def whole(self) -> Tensor:
        """Give what is added to prefixes that end here: (B, K)."""
        ends = torch.full_like(self.contexts[..., 0], self.fusion.eos_id)
        return self.added + self.fusion.weight * self.lm.look_up(ends, self.contexts)


def fused_shares(fusion: Fusion, symbols: Sequence[int], device: torch.device) -> list[float]:
    """Give what a language model adds for each symbol of a text, and for its end."""
    prefix, shares = FusedPrefixes(fusion, 1, 1, device), []
    first, is_longer = torch.zeros(1, 1, dtype=torch.int64, device=device), torch.ones(1, 1, dtype=torch.bool)
    for symbol in symbols:
        before, ids = prefix.added, torch.full_like(first, symbol)
        prefix.follow(first, ids, is_longer.to(device), prefix.choices(ids)[:, 1:])
        shares.append(float(prefix.added - before))
    return [*shares, float(prefix.whole() - prefix.added)]
