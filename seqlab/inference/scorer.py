"""Forced scoring: how probable a model finds the targets it is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqlab.data.batch import IGNORE, Seq2SeqBatch, collate
from seqlab.inference.decode import evaluation_mode, length_batches
from seqlab.inference.lines import refuse_newlines
from seqlab.models.interfaces import Scorer
from seqlab.text import Tokenizer

SCORE_TOKENS = 4096
"""Padded tokens of the longer side that are scored together unless the caller says otherwise."""


@dataclass(frozen=True)
class PairScore:
    """How probable a target is, given its source."""

    log_prob: float
    """The sum over `token_log_probs`, in nats."""
    num_tokens: int
    """Target tokens, the end of sentence counted."""
    token_log_probs: list[float]
    """In nats, the end of sentence last; several models average their probabilities token by token."""


@torch.inference_mode()
def score_rows(
    models: Sequence[Scorer],
    src_rows: Sequence[Sequence[int]],
    tgt_rows: Sequence[Sequence[int]],
    tokenizer: Tokenizer,
    *,
    batch_tokens: int = SCORE_TOKENS,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> list[PairScore]:
    """Score each target given its source, in the order of the rows; batches change no score.

    Args:
        models: one `Scorer` or an ensemble, on `device`.
        src_rows: source ids without special ids.
        tgt_rows: target ids without special ids, as many.
        tokenizer: names the special ids.
        batch_tokens: padded tokens of the longer side that are scored together: memory and speed.
        device: where the models are.
        progress: called after each batch with its number of pairs.
    """
    assert len(src_rows) == len(tgt_rows), "every source needs a target"
    lengths = [max(len(src), len(tgt)) + 1 for src, tgt in zip(src_rows, tgt_rows, strict=True)]
    scores: dict[int, PairScore] = {}
    for indices in length_batches(lengths, batch_tokens):
        batch = collate(
            [src_rows[i] for i in indices],
            [tgt_rows[i] for i in indices],
            indices,
            pad_id=tokenizer.pad_id,
            bos_id=tokenizer.bos_id,
            eos_id=tokenizer.eos_id,
        ).to(device)
        for i, row in zip(indices, _token_log_probs(models, batch), strict=True):
            scores[i] = PairScore(sum(row), len(row), row)
        if progress is not None:
            progress(len(indices))
    return [scores[i] for i in range(len(lengths))]


def _token_log_probs(models: Sequence[Any], batch: Seq2SeqBatch) -> list[list[float]]:
    """Average the models' probabilities of each target token, and take the padding away."""
    assert batch.tgt_out is not None
    members: list[Tensor] = []
    for model in models:
        with evaluation_mode(model):
            members.append(model.score(batch).double())  # (B, T)
    mean = members[0]
    if len(members) > 1:
        mean = torch.logsumexp(torch.stack(members), dim=0) - torch.tensor(float(len(members))).double().log()
    lengths = (batch.tgt_out != IGNORE).sum(1).tolist()
    return [row[:length] for row, length in zip(mean.tolist(), lengths, strict=True)]


def score_lines(
    models: Sequence[Scorer],
    src_lines: Sequence[str],
    tgt_lines: Sequence[str],
    src_tokenizer: Tokenizer,
    tgt_tokenizer: Tokenizer,
    **options: Any,
) -> list[PairScore]:
    """Score pairs of lines; the options are those of `score_rows`.

    Raises:
        ValueError: there are more lines on one side, or a line holds a newline.
    """
    if len(src_lines) != len(tgt_lines):
        raise ValueError(
            f"`src_lines` and `tgt_lines` must have the same number of lines, but have {len(src_lines)} and "
            f"{len(tgt_lines)}."
        )
    refuse_newlines(src_lines, "src_lines")
    refuse_newlines(tgt_lines, "tgt_lines")
    return score_rows(
        models, src_tokenizer.encode(src_lines), tgt_tokenizer.encode(tgt_lines), tgt_tokenizer, **options
    )
