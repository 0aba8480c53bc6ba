"""A scripted non-autoregressive model: fixed random logits per (sentence, position, observed tokens)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.models.outputs import FrameOutput, TargetLengths

EOS, VOCAB_SIZE = 1, 6


class Logits:
    """Projection of hidden states that are already logits."""

    def log_probs(self, hidden: Tensor) -> Tensor:
        return hidden.log_softmax(-1)


class Sentences:
    """Encoder output: the index of each row's sentence."""

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers

    def select(self, rows: Tensor) -> "Sentences":
        return Sentences(self.numbers[rows])


class ScriptedPositions:
    """A `PositionModel` with logits that depend on the sentence, the position and the observed tokens.

    All positions attend to one source position. Its index is the number of observed tokens.
    """

    vocab_size, eos_id, iterations = VOCAB_SIZE, EOS, 1

    def __init__(self, lengths: list[list[int]], ends_at_eos: bool = False, seed: int = 0) -> None:
        self.lengths, self.ends_at_eos = lengths, ends_at_eos
        self.tables = torch.randn(
            len(lengths), 12, 12, VOCAB_SIZE + 1, VOCAB_SIZE, generator=torch.Generator().manual_seed(seed)
        )
        self.calls: list[list[list[int]]] = []

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a search must not call the training pass")

    def position_targets(self, batch: Any) -> Tensor:
        raise AssertionError("a search must not ask for targets")

    def encode(self, batch: Any) -> "Sentences":
        return Sentences(torch.arange(len(self.lengths)))

    def target_lengths(self, source: "Sentences", count: int, shortest: Tensor, longest: Tensor) -> TargetLengths:
        lengths = torch.tensor(self.lengths)[:, :count]
        scores = -0.25 * torch.arange(lengths.size(1)).expand(lengths.shape)
        is_outside = (lengths < shortest[:, None]) | (lengths > longest[:, None])
        return TargetLengths(lengths, scores.masked_fill(is_outside, -torch.inf))

    def logits(self, sentence: int, length: int, shown: list[int]) -> Tensor:
        """Return logits (P, V). They depend on the observed id, or its absence, at every position."""
        ids = [VOCAB_SIZE if i == IGNORE else i for i in shown[:length]]
        return torch.stack([self.tables[sentence, position, range(length), ids].sum(0) for position in range(length)])

    def predict(
        self, source: "Sentences", lengths: Tensor, shown: Tensor | None = None, need_attention: bool = False
    ) -> FrameOutput:
        size = int(lengths.max())
        rows = [[IGNORE] * size] * len(lengths) if shown is None else shown.tolist()
        self.calls.append(rows)
        hidden = torch.full((len(lengths), size, VOCAB_SIZE), torch.nan)
        for i, (sentence, length) in enumerate(zip(source.numbers.tolist(), lengths.tolist(), strict=True)):
            hidden[i, :length] = self.logits(sentence, length, rows[i])
            hidden[i, length:] = 0.0
        counts = torch.tensor([sum(i != IGNORE for i in row) for row in rows])
        attention = F.one_hot(counts, 12).float()[:, None].expand(-1, size, -1) if need_attention else None
        return FrameOutput(hidden, Logits(), lengths, attention=attention)  # type: ignore[arg-type]


class Batch:
    """A batch that has only source lengths."""

    def __init__(self, src_lengths: list[int]) -> None:
        self.src_lengths = torch.tensor(src_lengths)
