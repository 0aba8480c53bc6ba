"""What a decoder reads in training where it is not always told the reference: its own predictions, some of the time.

Shapes: B sentences, T target positions, N rows, V vocabulary, E embedding size.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn.projection import VocabularyProjection

Mixture = Literal["argmax", "sampled", "soft"]
"""What is read of a prediction: the likeliest symbol, one that is drawn, or the mean embedding of all symbols."""


@dataclass(frozen=True)
class InputMixing:
    """Which inputs of a batch are predictions, and how these are read."""

    is_reference: Tensor
    """(B, T) bool; True at the first position, before which nothing is predicted."""
    mixture: Mixture
    temperature: float
    """What logits are divided by before they are drawn from or averaged by."""
    generator: torch.Generator | None
    """Where symbols are drawn from."""

    @classmethod
    def draw(
        cls, tgt_in: Tensor, share: float, mixture: Mixture, temperature: float, generator: torch.Generator | None
    ) -> "InputMixing":
        """Draw for each input (B, T) by itself whether it is the reference, with the probability `share`."""
        drawn = torch.rand(tgt_in.shape, generator=generator, device=tgt_in.device)
        is_reference = drawn < share
        is_reference[:, 0] = True
        return cls(is_reference, mixture, temperature, generator)

    def embed(self, logits: Tensor, weight: Tensor, symbols: Tensor | None = None) -> Tensor:
        """Look predictions up: logits (N, V), weight (V, E) -> (N, E) in fp32, with a gradient for the weight alone.

        `symbols` (V, 1): the dropout of whole symbols.
        """
        logits = logits.detach().float()
        if self.mixture == "soft":
            probs = torch.softmax(logits / self.temperature, dim=-1)
            with torch.autocast(probs.device.type, enabled=False):
                return (probs if symbols is None else probs * symbols[:, 0]) @ weight.float()
        ids = logits.argmax(-1) if self.mixture == "argmax" else self._drawn(logits)
        embedded = F.embedding(ids, weight).float()
        return embedded if symbols is None else embedded * symbols[ids]

    def _drawn(self, logits: Tensor) -> Tensor:
        """logits (N, V) -> ids (N,)."""
        probs = torch.softmax(logits / self.temperature, dim=-1)
        thresholds = torch.rand(len(probs), 1, generator=self.generator, device=probs.device)
        return (probs.cumsum(-1) < thresholds).sum(-1).clamp_max(probs.size(-1) - 1)

    def mixed(self, reference: Tensor, predicted: Tensor, position: int | None = None) -> Tensor:
        """Choose between embeddings (B, T, E), or (B, E) of one position."""
        chosen = self.is_reference if position is None else self.is_reference[:, position]
        return torch.where(chosen[..., None], reference, predicted)


@dataclass(frozen=True)
class OwnInputs:
    """What a decoder reads of its own predictions."""

    mixing: InputMixing
    projection: VocabularyProjection
    features: Tensor | None = None
    """(B, E), the dropout of the features of all inputs."""
    symbols: Tensor | None = None
    """(V, 1), the dropout of whole symbols."""

    def mixed(self, reference: Tensor, vector: Tensor, weight: Tensor, position: int) -> Tensor:
        """Give what is read at a position, (B, E): the reference, or what the attentional vector before it predicts."""
        with torch.no_grad():
            logits = self.projection(vector)
        embedded = self.mixing.embed(logits, weight, self.symbols)
        return self.mixing.mixed(reference, embedded if self.features is None else embedded * self.features, position)
