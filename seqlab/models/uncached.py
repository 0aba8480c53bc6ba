"""Decoding with a forward pass alone: the bases of models that have no code of their own for single steps.

Each step reads all ids so far again, so a text of T tokens takes T times as long as it would with a cache. A model that
decodes much has a `start` and a `step` of its own, with a state that holds what it needs of the ids that it has read.

Shapes: B sentences, N hypotheses, S source positions, t ids so far, T target positions.
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
    """What both kinds have in common; `forward` is for the model to define."""

    def __init__(self, tgt: TokenSide) -> None:
        super().__init__()
        self.vocab_size, self.eos_id, self.bos_id = tgt.vocab_size, tgt.eos_id, tgt.bos_id

    def score(self, batch: Any) -> Tensor:
        """(B, T): log-probabilities in nats of `tgt_out`, 0 where nothing is predicted."""
        return _forward(self, batch).scores(batch.tgt_out)

    def step(self, last_ids: Tensor, state: TensorState) -> Step:
        """Read all ids again and `last_ids` (N,) after them, and score the next."""
        ids, *source = state.tensors
        ids = torch.cat([ids, last_ids[:, None]], dim=1)  # (N, t)
        output = _forward(self, self.batch_of(ids, source))
        return Step(output.projection.log_probs(output.hidden[:, -1]), TensorState((ids, *source)), None)

    def batch_of(self, ids: Tensor, source: Sequence[Tensor]) -> Any:
        """Make a batch of what has been read: ids (N, t), and the rest of the state."""
        raise NotImplementedError


def _forward(model: nn.Module, batch: Any) -> DecoderOutput:
    output: DecoderOutput = model(batch)
    return output


class UncachedLm(_Uncached):
    """The base of a language model of your own: define `forward(batch: TextBatch) -> DecoderOutput`.

    The hidden state at a position, (B, T, D), may depend on `batch.tgt_in` up to that position alone. Scoring, sampling
    and beam search follow from it.
    """

    def start(self, batch: TextBatch, need_attention: bool = False) -> tuple[Tensor, TensorState]:
        """Read prompts of one length: the first step reads their last ids. There is nothing to attend to."""
        return batch.tgt_in[:, -1], TensorState((batch.tgt_in[:, :-1],))

    def batch_of(self, ids: Tensor, source: Sequence[Tensor]) -> TextBatch:
        """Make a batch of texts: ids (N, t)."""
        return TextBatch(ids, torch.full_like(ids, IGNORE), torch.arange(len(ids), device=ids.device), 0)


class UncachedTranslator(_Uncached):
    """The base of a translator of your own: define `forward(batch: Seq2SeqBatch) -> DecoderOutput`.

    The hidden state at a position, (B, T, D), may depend on the source and on `batch.tgt_in` up to that position alone.
    Scoring and beam search follow from it; there is no attention for alignments.
    """

    def start(self, batch: Seq2SeqBatch, need_attention: bool = False) -> tuple[Tensor, TensorState]:
        """Begin a target for each source: the first step reads bos."""
        last_ids = batch.src.new_full((len(batch),), self.bos_id)
        return last_ids, TensorState((last_ids[:, None][:, :0], batch.src, batch.src_lengths))

    def batch_of(self, ids: Tensor, source: Sequence[Tensor]) -> Seq2SeqBatch:
        """Make a batch of pairs: targets so far (N, t), sources (N, S) and their lengths (N,)."""
        src, src_lengths = source
        return Seq2SeqBatch(src, src_lengths, ids, None, src_lengths, 0)
