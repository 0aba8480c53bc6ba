"""Two bag-of-embeddings encoders (Mikolov et al. 2013) with a contrastive loss (Radford et al. 2021, CLIP)."""

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
class TokenBags:
    """Token ids of B texts, concatenated, as `nn.EmbeddingBag` expects them."""

    ids: Tensor  # (tokens of all texts,) int64
    starts: Tensor  # (B,) int64: offset of each text in `ids`

    @classmethod
    def of(cls, rows: Sequence[ArrayLike]) -> "TokenBags":
        """Concatenate the ids of several texts."""
        arrays = [np.asarray(row, np.int64) for row in rows]
        lengths = np.array([len(each) for each in arrays], np.int64)
        ids = np.concatenate([*arrays, np.zeros(0, np.int64)])
        return cls(torch.from_numpy(ids), torch.from_numpy(lengths.cumsum() - lengths))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "TokenBags":
        """Copy all tensors to `device`."""
        return TokenBags(
            self.ids.to(device, non_blocking=non_blocking), self.starts.to(device, non_blocking=non_blocking)
        )


@plain_dataclass(frozen=True)
class PairBatch:
    """A group of B pairs; the texts of the other pairs are negatives."""

    left: Tensor
    left_starts: Tensor
    right: Tensor
    right_starts: Tensor  # ids and starts as in `TokenBags`
    indices: Tensor  # (B,) int64
    num_targets: int  # number of pairs; 0 for a batch that only keeps ranks synchronized

    continues: ClassVar[bool] = False

    @classmethod
    def of(cls, left: Sequence[ArrayLike], right: Sequence[ArrayLike], indices: Iterable[int]) -> "PairBatch":
        """Collate pairs of token ids."""
        lefts, rights, numbers = TokenBags.of(left), TokenBags.of(right), torch.tensor(list(indices))
        return cls(lefts.ids, lefts.starts, rights.ids, rights.starts, numbers, len(numbers))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PairBatch":
        """Copy all tensors to `device`."""
        names = ("left", "left_starts", "right", "right_starts", "indices")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=non_blocking) for name in names})

    def without_targets(self) -> "PairBatch":
        """Return the batch without targets: its loss is 0."""
        return replace(self, num_targets=0)

    def select(self, rows: Tensor) -> "PairBatch":
        """Return a batch of some of the pairs: (B',) int64 numbers of rows, or (B,) bool."""
        numbers = (rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows).tolist()
        sides = ((self.left, self.left_starts), (self.right, self.right_starts))
        left, right = (ids.tensor_split(starts[1:].cpu()) for ids, starts in sides)
        return PairBatch.of([left[i] for i in numbers], [right[i] for i in numbers], self.indices[numbers].tolist())


class TwoEncoders(Protocol):
    """Protocol of models that encode the texts of each side as vectors."""

    def encode_left(self, texts: TokenBags) -> Tensor:
        """Return unit vectors (B, D)."""
        ...

    def encode_right(self, texts: TokenBags) -> Tensor:
        """Return unit vectors (B, D)."""
        ...


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class BagsConfig(ModelConfig):
    """Two encoders that average the embeddings of a text's tokens."""

    family: Literal["bags"] = "bags"
    """Name of the model family."""
    d_model: Size = 128
    """Dimension of the vectors."""

    tasks: ClassVar[tuple[str, ...]] = ("similarity",)
    outputs: ClassVar[str] = "vectors"
    default_objective: ClassVar[str] = "contrastive"

    def build(self, src: Any, tgt: Any) -> "BagsModel":
        """Build the model."""
        return BagsModel(src.vocab_size, tgt.vocab_size, self.d_model)


class BagsModel(nn.Module):
    """Two encoders that average token embeddings, one for each side."""

    def __init__(self, left_vocab_size: int, right_vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.left, self.right = (nn.EmbeddingBag(size, d_model) for size in (left_vocab_size, right_vocab_size))

    def encode_left(self, texts: TokenBags) -> Tensor:
        """Return unit vectors (B, D)."""
        return F.normalize(self.left(texts.ids, texts.starts), dim=1)

    def encode_right(self, texts: TokenBags) -> Tensor:
        """Return unit vectors (B, D)."""
        return F.normalize(self.right(texts.ids, texts.starts), dim=1)

    def forward(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Return the vectors of both sides, (B, D) each."""
        left, right = TokenBags(batch.left, batch.left_starts), TokenBags(batch.right, batch.right_starts)
        return self.encode_left(left), self.encode_right(right)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ContrastiveConfig(ObjectiveConfig):
    """Contrastive loss: cross entropy of each text's partner among the texts of its group, in both directions."""

    family: Literal["contrastive"] = "contrastive"
    """Name of the objective."""
    temperature: Annotated[float, Field(gt=0)] = 0.05
    """Divisor of the cosine similarities before the softmax."""

    outputs: ClassVar[str] = "vectors"
    tasks: ClassVar[tuple[str, ...]] = ("similarity",)

    def build(self) -> "Contrastive":
        """Build the objective."""
        return Contrastive(self.temperature)


class Contrastive:
    """Contrastive loss, the mean of both directions, summed over pairs."""

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def __call__(self, model: Any, batch: PairBatch, context: StepContext) -> Loss:
        """Return the loss of a batch, counted in pairs; logs `correct`, whether the nearest text is the partner."""
        left, right = model(batch)
        scores = left @ right.T / self.temperature  # (B, B)
        partners, weight = torch.arange(len(scores), device=scores.device), float(batch.num_targets > 0)
        total = weight * self.nll(scores).sum()
        correct = weight * (scores.argmax(1) == partners).sum()
        return Loss(total, total.new_tensor(batch.num_targets), {"correct": correct})

    @staticmethod
    def nll(scores: Tensor) -> Tensor:
        """Return the loss of each pair (B,) in nats from similarities (B, B) with the partners on the diagonal."""
        partners = torch.arange(len(scores), device=scores.device)
        left, right = (F.cross_entropy(each.float(), partners, reduction="none") for each in (scores, scores.T))
        return (left + right) / 2
