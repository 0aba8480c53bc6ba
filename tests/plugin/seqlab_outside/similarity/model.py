"""Bags of embeddings for each side (Mikolov et al. 2013), and their contrastive loss (Radford et al. 2021, CLIP)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.models.config import SETTINGS, ModelConfig, Size
from seqlab.objectives import Loss, ObjectiveConfig, StepContext


@plain_dataclass(frozen=True)
class Bags:
    """Texts of one side end to end."""

    ids: Tensor  # (tokens of all texts,) int64
    starts: Tensor  # (B,) int64: where each text begins

    @classmethod
    def of(cls, rows: Sequence[ArrayLike]) -> "Bags":
        """Put the ids of some texts one after the other."""
        arrays = [np.asarray(row, np.int64) for row in rows]
        lengths = np.array([len(each) for each in arrays], np.int64)
        ids = np.concatenate([*arrays, np.zeros(0, np.int64)])
        return cls(torch.from_numpy(ids), torch.from_numpy(lengths.cumsum() - lengths))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Bags":
        """Copy all tensors to `device`."""
        return Bags(self.ids.to(device, non_blocking=non_blocking), self.starts.to(device, non_blocking=non_blocking))


@plain_dataclass(frozen=True)
class PairBatch:
    """Pairs of which each is told apart from all others."""

    left: Tensor
    left_starts: Tensor
    right: Tensor
    right_starts: Tensor  # as those of `Bags`
    indices: Tensor  # (B,) int64
    num_targets: int  # pairs; 0 for a batch that only keeps a rank in step with the others

    continues: ClassVar[bool] = False

    @classmethod
    def of(cls, left: Sequence[ArrayLike], right: Sequence[ArrayLike], indices: Iterable[int]) -> "PairBatch":
        """Put pairs together."""
        ones, others, numbers = Bags.of(left), Bags.of(right), torch.tensor(list(indices))
        return cls(ones.ids, ones.starts, others.ids, others.starts, numbers, len(numbers))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PairBatch":
        """Copy all tensors to `device`."""
        names = ("left", "left_starts", "right", "right_starts", "indices")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=non_blocking) for name in names})

    def idle(self) -> "PairBatch":
        """Keep the shape, but predict nothing."""
        return replace(self, num_targets=0)


class TwoEncoders(Protocol):
    """A model that gives each text a vector."""

    def encode_left(self, texts: Bags) -> Tensor:
        """(B, D): vectors of length 1."""
        ...

    def encode_right(self, texts: Bags) -> Tensor:
        """(B, D): vectors of length 1."""
        ...


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class BagsConfig(ModelConfig):
    """The mean of the embeddings of a text's tokens, for each side."""

    family: Literal["bags"] = "bags"
    """Name of the model family."""
    d_model: Size = 128
    """Values of each vector."""

    task: ClassVar[str] = "similarity"
    outputs: ClassVar[str] = "vectors"
    default_objective: ClassVar[str] = "contrastive"

    def build(self, src: Any, tgt: Any) -> "BagsModel":
        """Build the model."""
        return BagsModel(src.vocab_size, tgt.vocab_size, self.d_model)


class BagsModel(nn.Module):
    """Two texts to two vectors."""

    def __init__(self, left_vocab_size: int, right_vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.left, self.right = (nn.EmbeddingBag(size, d_model) for size in (left_vocab_size, right_vocab_size))

    def encode_left(self, texts: Bags) -> Tensor:
        """(B, D): vectors of length 1."""
        return F.normalize(self.left(texts.ids, texts.starts), dim=1)

    def encode_right(self, texts: Bags) -> Tensor:
        """(B, D): vectors of length 1."""
        return F.normalize(self.right(texts.ids, texts.starts), dim=1)

    def forward(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Give the vectors of both sides, (B, D) each."""
        left, right = Bags(batch.left, batch.left_starts), Bags(batch.right, batch.right_starts)
        return self.encode_left(left), self.encode_right(right)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ContrastiveConfig(ObjectiveConfig):
    """Cross entropy of each text's partner among those of its micro-step, in both directions."""

    family: Literal["contrastive"] = "contrastive"
    """Name of the objective."""
    temperature: Annotated[float, Field(gt=0)] = 0.05
    """What cosines are divided by before the softmax."""

    outputs: ClassVar[str] = "vectors"
    tasks: ClassVar[tuple[str, ...]] = ("similarity",)

    def build(self) -> "Contrastive":
        """Build the objective."""
        return Contrastive(self.temperature)


class Contrastive:
    """Sum the loss over pairs, the mean of both directions."""

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def __call__(self, model: Any, batch: PairBatch, context: StepContext) -> Loss:
        """Unit: pairs. Logs: `correct`, whether a left text's partner is the nearest."""
        left, right = model(batch)
        scores = left @ right.T / self.temperature  # (B, B)
        partners, weight = torch.arange(len(scores), device=scores.device), float(batch.num_targets > 0)
        total = weight * self.nll(scores).sum()
        correct = weight * (scores.argmax(1) == partners).sum()
        return Loss(total, total.new_tensor(batch.num_targets), {"correct": correct})

    @staticmethod
    def nll(scores: Tensor) -> Tensor:
        """(B,): nats of each pair of a matrix (B, B)."""
        partners = torch.arange(len(scores), device=scores.device)
        left, right = (F.cross_entropy(each.float(), partners, reduction="none") for each in (scores, scores.T))
        return (left + right) / 2
