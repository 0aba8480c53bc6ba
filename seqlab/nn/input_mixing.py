"""Decoder inputs for scheduled sampling: some reference tokens are replaced by the model's predictions.

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
"""Input derived from a prediction: the most probable token, a sampled token, or the mean embedding of all tokens."""


@dataclass(frozen=True)
class InputMixing:
    """Positions of a batch at which predictions replace reference inputs, and the type of these inputs."""

    is_reference: Tensor
    """(B, T) bool: True for reference inputs; always at the first position, since no prediction precedes it."""
    mixture: Mixture
    temperature: float
    """Divisor of the logits, for `sampled` and `soft`."""
    generator: torch.Generator | None
    """Random generator for `sampled`; None: torch's default."""

    @classmethod
    def draw(
        cls,
        tgt_in: Tensor,
        reference_prob: float,
        mixture: Mixture,
        temperature: float,
        generator: torch.Generator | None,
    ) -> "InputMixing":
        """Choose the reference independently for each input (B, T), with probability `reference_prob`."""
        drawn = torch.rand(tgt_in.shape, generator=generator, device=tgt_in.device)
        is_reference = drawn < reference_prob
        is_reference[:, 0] = True
        return cls(is_reference, mixture, temperature, generator)

    @cached_property
    def has_predictions(self) -> list[bool]:
        """Whether any row needs a prediction, for each position (T); always True on a GPU, to avoid synchronization."""
        if not self.is_reference.is_cpu:
            return [True] * self.is_reference.size(1)
        has_predictions: list[bool] = (~self.is_reference).any(0).tolist()
        return has_predictions

    def predictions(self, logits: Tensor) -> Tensor:
        """Convert logits (N, V) to inputs of `embed_predictions`: ids (N,) or, for `soft`, probabilities (N, V)."""
        logits = logits.detach().float()
        if self.mixture == "soft":
            return torch.softmax(logits / self.temperature, dim=-1)
        return logits.argmax(-1) if self.mixture == "argmax" else self._sample(logits)

    def _sample(self, logits: Tensor) -> Tensor:
        """Sample ids (N,) from logits (N, V) by inverse transform sampling."""
        probs = torch.softmax(logits / self.temperature, dim=-1)
        thresholds = torch.rand(len(probs), 1, generator=self.generator, device=probs.device)
        return (probs.cumsum(-1) < thresholds).sum(-1).clamp_max(probs.size(-1) - 1)

    def mix(self, reference: Tensor, predicted: Tensor, position: int | None = None) -> Tensor:
        """Select reference or predicted embeddings: (B, T, E), or (B, E) of one position."""
        chosen = self.is_reference if position is None else self.is_reference[:, position]
        return torch.where(chosen[..., None], reference, predicted)


def embed_predictions(rows: Tensor, weight: Tensor) -> Tensor:
    """Embed ids (N,), or probabilities (N, V) as the mean embedding, with a weight (V, E): (N, E) in fp32."""
    if rows.dim() == 1:
        return F.embedding(rows, weight).float()
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ weight.float()


@dataclass(frozen=True)
class PredictedInputs:
    """Inputs of a recurrent decoder that mix reference tokens with its own predictions, step by step."""

    mixing: InputMixing
    projection: VocabularyProjection
    weight: Tensor
    """(V, E), the embedding."""
    feature_mask: Tensor
    """(B, E), the scaled dropout mask of features, the same at all positions."""
    token_mask: Tensor | None
    """(V, 1), the scaled dropout mask of tokens; None if no token is dropped."""

    def mix(self, reference: Tensor, vector: Tensor, position: int) -> Tensor:
        """Return the input (B, E) at a position: the reference, or the prediction from the previous output vector."""
        if not self.mixing.has_predictions[position]:
            return reference
        with torch.no_grad():
            predictions = self.mixing.predictions(self.projection(vector))
        if self.token_mask is None:
            embedded = embed_predictions(predictions, self.weight)
        elif predictions.dim() == 1:
            embedded = embed_predictions(predictions, self.weight) * self.token_mask[predictions]
        else:
            embedded = embed_predictions(predictions * self.token_mask[:, 0], self.weight)
        return self.mixing.mix(reference, embedded * self.feature_mask, position)
