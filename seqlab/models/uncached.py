"""Base classes of models that decode without a cache and define only `forward`.

Each step runs the forward pass over the full prefix, so decoding T tokens computes up to T times as much as with a
cache. For faster decoding define `start` and `step`, with a state that caches the results for the prefix.

Shapes: B sentences, N hypotheses, S source positions, t tokens of the prefix, T target positions.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, Seq2SeqBatch, TextBatch
from seqlab.models.config import TokenSide
from seqlab.models.interfaces import Step
from seqlab.models.outputs import DecoderOutput, TensorState


class _Uncached(nn.Module):
    """Common part of both base classes; subclasses define `forward`."""

    def __init__(self, tgt: TokenSide) -> None:
        super().__init__()
        self.vocab_size, self.eos_id, self.bos_id = tgt.vocab_size, tgt.eos_id, tgt.bos_id

    def score(self, batch: Any) -> Tensor:
        """Return the log-probabilities (B, T) in nats of `tgt_out`, 0 at ignored positions."""
        return _forward(self, batch).scores(batch.tgt_out)

    def step(self, last_ids: Tensor, state: TensorState) -> Step:
        """Append `last_ids` (N,) to the prefixes, run the forward pass over them, and score the next id."""
        ids, *source = state.tensors
        ids = torch.cat([ids, last_ids[:, None]], dim=1)  # (N, t)
        output = _forward(self, self.make_batch(ids, source))
        return Step(output.projection.log_probs(output.hidden[:, -1]), TensorState((ids, *source)), None)

    def make_batch(self, ids: Tensor, source: Sequence[Tensor]) -> Any:
        """Make a batch from prefixes (N, t) and the other tensors of the state."""
        raise NotImplementedError


def _forward(model: nn.Module, batch: Any) -> DecoderOutput:
    output: DecoderOutput = model(batch)
    return output


class UncachedLm(_Uncached):
    """Base class of a custom language model: define `forward(batch: TextBatch) -> DecoderOutput`.

    The hidden states (B, T, D) must be causal: each depends only on `batch.tgt_in` up to its position. Scoring,
    sampling and beam search use `forward`.
    """

    def start(self, batch: TextBatch, need_attention: bool = False) -> tuple[Tensor, TensorState]:
        """Read prompts of equal lengths, except their last ids, which the first step reads. There is no attention."""
        return batch.tgt_in[:, -1], TensorState((batch.tgt_in[:, :-1],))

    def make_batch(self, ids: Tensor, source: Sequence[Tensor]) -> TextBatch:
        """Make a batch from prefixes (N, t)."""
        return TextBatch(ids, torch.full_like(ids, IGNORE), torch.arange(len(ids), device=ids.device), 0)


class UncachedTranslator(_Uncached):
    """Base class of a custom translator: define `forward(batch: Seq2SeqBatch) -> DecoderOutput`.

    The hidden states (B, T, D) must be causal: each depends only on the source and on `batch.tgt_in` up to its
    position. Scoring and beam search use `forward`; there is no attention for alignments.
    """

    def start(self, batch: Seq2SeqBatch, need_attention: bool = False) -> tuple[Tensor, TensorState]:
        """Start with empty targets; the first step reads bos."""
        last_ids = batch.src.new_full((len(batch),), self.bos_id)
        return last_ids, TensorState((last_ids[:, None][:, :0], batch.src, batch.src_lengths))

    def make_batch(self, ids: Tensor, source: Sequence[Tensor]) -> Seq2SeqBatch:
        """Make a batch from target prefixes (N, t), sources (N, S) and their lengths (N,)."""
        src, src_lengths = source
        return Seq2SeqBatch(src, src_lengths, ids, None, src_lengths, 0)
