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
        """(B, K, order); between `choices` and `keep` those of all choices, as what is added."""
        self.added = torch.zeros(sentences, beam_size, dtype=torch.float64, device=device)
        """(B, K): its weighted log-probabilities, and the rewards of the symbols."""

    def choices(self, ids: Tensor) -> Tensor:
        """Give what is added to the prefixes as they are, and to each with one more of ids (B, C): (B, K + KC)."""
        ids = ids[:, None].expand(-1, self.contexts.size(1), -1)
        log_probs, contexts = self.lm.read(ids, self.contexts[:, :, None])
        longer = self.added[..., None] + self.fusion.weight * log_probs + self.fusion.length_reward
        self.contexts = torch.cat((self.contexts, contexts.flatten(1, 2)), 1)
        self.added = torch.cat((self.added, longer.flatten(1)), 1)
        return self.added

    def keep(self, places: Tensor) -> None:
        """Keep those of the choices that stand at these places (B, K)."""
        self.contexts = self.contexts.gather(1, places[..., None].expand(-1, -1, self.contexts.size(2)))
        self.added = self.added.gather(1, places)

    def whole(self) -> Tensor:
        """Give what is added to prefixes that end here: (B, K)."""
        ends = torch.full_like(self.contexts[..., 0], self.fusion.eos_id)
        return self.added + self.fusion.weight * self.lm.read(ends, self.contexts)[0]


def fused_shares(fusion: Fusion, symbols: Sequence[int], device: torch.device) -> list[float]:
    """Give what a language model adds for each symbol of a text, and for its end."""
    prefix, shares = FusedPrefixes(fusion, 1, 1, device), []
    longer = torch.ones(1, 1, dtype=torch.int64, device=device)
    for symbol in symbols:
        before = prefix.added
        prefix.choices(torch.full_like(longer, symbol))
        prefix.keep(longer)
        shares.append(float(prefix.added - before))
    return [*shares, float(prefix.whole() - prefix.added)]
