"""Teacher-forced scoring: the log-probabilities of given targets under a model or an ensemble."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from seqlab.base.world import ProgressCallback
from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.data.sampler import collate_rows
from seqlab.inference.engine import PairScore, length_batches
from seqlab.models.outputs import IMPOSSIBLE_LOG_PROB, NEG_INF
from seqlab.search.ensemble import mean_log_probs
from seqlab.search.search import evaluation_mode
from seqlab.text import Tokenizer

SCORING_BATCH_TOKENS = 4096
"""Default batch size of scoring, in padded tokens of the source or the target, the longer of the two."""


@runtime_checkable
class Scorer(Protocol):
    """A model that scores given targets in one teacher-forced pass, for perplexity, rescoring and filtering."""

    def score(self, batch: Any) -> Tensor:
        """Return the log-probabilities (B, T) in nats of `tgt_out`."""
        ...


@torch.inference_mode()
def score_rows(
    models: Sequence[Scorer],
    src_rows: Sequence[Sequence[int]],
    tgt_rows: Sequence[Sequence[int]],
    tokenizer: Tokenizer,
    *,
    batch_tokens: int = SCORING_BATCH_TOKENS,
    device: torch.device | str = "cpu",
    progress: ProgressCallback | None = None,
) -> list[PairScore]:
    """Score each target given its source, in the order of the rows; batching does not change the scores.

    Args:
        models: a `Scorer`, or several as an ensemble, on `device`.
        src_rows: source ids without special ids.
        tgt_rows: target ids without special ids, one row for each source.
        tokenizer: target tokenizer, for the special ids.
        batch_tokens: batch size in padded tokens of the source or the target, the longer of the two.
        device: device of the models.
        progress: called after each batch with its number of pairs.
    """
    assert len(src_rows) == len(tgt_rows), "every source needs a target"
    lengths = [max(len(src), len(tgt)) + 1 for src, tgt in zip(src_rows, tgt_rows, strict=True)]
    scores: dict[int, PairScore] = {}
    for indices in length_batches(lengths, batch_tokens):
        batch = collate_rows(src_rows, tgt_rows, indices, tokenizer).to(device)
        for i, row in zip(indices, _token_log_probs(models, batch), strict=True):
            log_prob = NEG_INF if IMPOSSIBLE_LOG_PROB in row else sum(row)
            scores[i] = PairScore(log_prob, len(row), row)
        if progress is not None:
            progress(len(indices))
    return [scores[i] for i in range(len(lengths))]


def _token_log_probs(models: Sequence[Scorer], batch: Seq2SeqBatch) -> list[list[float]]:
    """Average the models' probabilities of each target token; return their logarithms without padding."""
    assert batch.tgt_out is not None
    members: list[Tensor] = []
    for model in models:
        with evaluation_mode(model):
            members.append(model.score(batch).double())  # (B, T)
    lengths = (batch.tgt_out != IGNORE).sum(1).tolist()
    return [row[:length] for row, length in zip(mean_log_probs(members).tolist(), lengths, strict=True)]
