"""Decoder inputs of scheduled sampling: the model's own predictions in place of some reference tokens.

Shapes: B sentences, T target positions, N rows, V vocabulary, E embedding size.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn.projection import VocabularyProjection

Mixture = Literal["argmax", "sampled", "soft"]
"""The input made of a prediction: the likeliest token, a sampled one, or the mean embedding of all tokens."""


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

    @cached_property
    def has_predictions(self) -> list[bool]:
        """Tell for each of the T positions whether a prediction may be read there; a GPU is not asked."""
        if not self.is_reference.is_cpu:
            return [True] * self.is_reference.size(1)
        found: list[bool] = (~self.is_reference).any(0).tolist()
        return found

    def predictions(self, logits: Tensor) -> Tensor:
        """Turn logits (N, V) into the input of `embed_predictions`: ids (N,) or, for `soft`, probabilities (N, V)."""
        logits = logits.detach().float()
        if self.mixture == "soft":
            return torch.softmax(logits / self.temperature, dim=-1)
        return logits.argmax(-1) if self.mixture == "argmax" else self._drawn(logits)

    def _drawn(self, logits: Tensor) -> Tensor:
        """logits (N, V) -> ids (N,)."""
        probs = torch.softmax(logits / self.temperature, dim=-1)
        thresholds = torch.rand(len(probs), 1, generator=self.generator, device=probs.device)
        return (probs.cumsum(-1) < thresholds).sum(-1).clamp_max(probs.size(-1) - 1)

    def mix(self, reference: Tensor, predicted: Tensor, position: int | None = None) -> Tensor:
        """Choose between embeddings (B, T, E), or (B, E) of one position."""
        chosen = self.is_reference if position is None else self.is_reference[:, position]
        return torch.where(chosen[..., None], reference, predicted)


def embed_predictions(rows: Tensor, weight: Tensor) -> Tensor:
    """Look up ids (N,), or means of all tokens by their shares (N, V), in a weight (V, E): (N, E) in fp32."""
    if rows.dim() == 1:
        return F.embedding(rows, weight).float()
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ weight.float()


@dataclass(frozen=True)
class PredictedInputs:
    """What a decoder reads of its own predictions, step by step."""

    mixing: InputMixing
    projection: VocabularyProjection
    weight: Tensor
    """(V, E), the embedding."""
    features: Tensor
    """(B, E), the dropout of the features of all inputs."""
    symbols: Tensor | None
    """(V, 1), the dropout of whole symbols."""

    def mix(self, reference: Tensor, vector: Tensor, position: int) -> Tensor:
        """Give what is read at a position, (B, E): the reference, or what the attentional vector before it predicts."""
        if not self.mixing.has_predictions[position]:
            return reference
        with torch.no_grad():
            predictions = self.mixing.predictions(self.projection(vector))
        if self.symbols is None:
            embedded = embed_predictions(predictions, self.weight)
        elif predictions.dim() == 1:
            embedded = embed_predictions(predictions, self.weight) * self.symbols[predictions]
        else:
            embedded = embed_predictions(predictions * self.symbols[:, 0], self.weight)
        return self.mixing.mix(reference, embedded * self.features, position)
