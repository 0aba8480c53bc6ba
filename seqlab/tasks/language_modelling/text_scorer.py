"""Log-probability of each token of a text: in blocks, by a sliding window, or given all previous tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqlab.base.world import ProgressCallback
from seqlab.data.batch import IGNORE, TextBatch
from seqlab.search.search import evaluation_mode

logger = logging.getLogger(__name__)

LM_BATCH_TOKENS = 8192
"""Default number of tokens per batch."""
TOKENS_PER_PART = 2048
"""Tokens per forward pass over a text that is scored with an unlimited context; passes carry over the state."""

Indices = NDArray[np.int64]


@runtime_checkable
class CarryingScorer(Protocol):
    """A language model whose hidden state can be carried from one batch to the next (as in truncated BPTT)."""

    def score_with_carry(self, batch: Any, carry: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Score rows that continue those of the previous batch. `carry`: its state; None for rows that start a text.

        Returns:
            The log-probabilities (B, T) in nats of `tgt_out`, and the state to carry to the next batch.
        """
        ...


@dataclass(frozen=True)
class ContextWindow:
    """Context of each predicted token: a window of `context` tokens that moves by `stride` tokens.

    All tokens of the first window of a text are scored, and the last `stride` tokens of each other window. With
    `stride == context` the windows are blocks without overlap; the input of a block starts with the last token of the
    previous block. `context=None` means all previous tokens, for models that carry a state.
    """

    context: int | None
    stride: int
    by_line: bool = False
    """Whether each line is a separate text; used in messages only."""

    def __post_init__(self) -> None:
        if self.context is not None:
            if self.context < 1:
                raise ValueError(f"`context` must be at least 1, but is {self.context} instead.")
            if not 1 <= self.stride <= self.context:
                raise ValueError(
                    f"`stride` must be from 1 to `context` ({self.context}), but is {self.stride} instead."
                )

    def __str__(self) -> str:
        if self.context is None:
            return f"each token given all previous tokens of its {'line' if self.by_line else 'text'}"
        sliding = f"a sliding window of {self.context} tokens with stride {self.stride}"
        if self.by_line:
            longer = f"in blocks of {self.context} tokens" if self.stride == self.context else f"by {sliding}"
            return f"each line by itself, longer lines {longer}"
        if self.stride == self.context:
            return f"blocks of {self.context} tokens, each given one token before it"
        return sliding


def window_for_lines(lengths: Indices, limit: int | None) -> ContextWindow:
    """Choose the context for lines of these lengths: all previous tokens of the line, if the models can read them.

    In a line that is longer than `limit`, the context length of the models, each token has a context of at least half
    of `limit`, or all previous tokens. A warning gives the number of such lines.
    """
    if limit is None:
        return ContextWindow(None, 1)
    window, too_long = ContextWindow(limit, max(1, limit // 2)), int((lengths > limit).sum())
    if too_long:
        logger.warning("%d of %d lines are longer than the model's context: read by %s", too_long, len(lengths), window)
    return window


@dataclass(frozen=True)
class Windows:
    """Windows over the ids of documents. A window reads the ids from `context_starts` to `stops`, which is exclusive.

    It scores those from `score_starts`.
    """

    context_starts: Indices  # (windows,)
    score_starts: Indices  # (windows,)
    stops: Indices  # (windows,)
    starts_document: NDArray[np.bool_]  # (windows,): whether the window is the first of a document

    @classmethod
    def over(cls, first: Indices, last: Indices, context: int, stride: int) -> Windows:
        """Cover documents with windows; document i has the ids from `first[i]` to `last[i]`, exclusive."""
        counts = 1 + np.maximum(0, -(-(last - first - context) // stride))
        document = np.repeat(np.arange(len(first)), counts)
        number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
        contexts = first[document] + number * stride
        starts = np.where(number == 0, contexts, contexts + context - stride)
        return cls(contexts, starts, np.minimum(contexts + context, last[document]), number == 0)

    def batches(self, batch_tokens: int) -> Iterator[Indices]:
        """Yield the indices of windows of equal length, in batches without padding."""
        lengths = self.stops - self.context_starts
        order = np.argsort(lengths, kind="stable")
        for same in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
            size = max(1, batch_tokens // max(1, int(lengths[same[0]]) if len(same) else 1))
            for start in range(0, len(same), size):
                yield same[start : start + size]

    def batch(self, rows: Indices, values: NDArray[Any], start_id: int) -> TextBatch:
        """Build the batch of windows of one length."""
        positions = self.context_starts[rows][:, None] + np.arange(int((self.stops - self.context_starts)[rows[0]]))
        tgt_out = values[positions].astype(np.int64)
        before = values[np.maximum(self.context_starts[rows] - 1, 0)].astype(np.int64)
        first = np.where(self.starts_document[rows], start_id, before)
        tgt_in = np.concatenate([first[:, None], tgt_out[:, :-1]], axis=1)
        tgt_out[positions < self.score_starts[rows][:, None]] = IGNORE
        num_tokens = int((tgt_out != IGNORE).sum())
        return TextBatch(torch.from_numpy(tgt_in), torch.from_numpy(tgt_out), torch.from_numpy(rows), num_tokens)


@torch.inference_mode()
def score_text(
    models: Sequence[Any],
    values: NDArray[Any],
    offsets: Indices,
    window: ContextWindow,
    *,
    start_id: int,
    batch_tokens: int = LM_BATCH_TOKENS,
    device: torch.device | str = "cpu",
    progress: ProgressCallback | None = None,
) -> NDArray[np.float64]:
    """Compute the log-probability in nats of each id; scores do not depend on the batching.

    Args:
        models: one `Scorer` of text, or an ensemble, on `device`; an ensemble averages probabilities per token.
        values: the concatenated ids of all documents.
        offsets: start of each document in `values`, and the end of the last one.
        window: the context of each id.
        start_id: the input before the first id of a document.
        batch_tokens: tokens per batch; affects memory and speed.
        device: device of the models.
        progress: called after each batch with its number of scored tokens.

    Raises:
        ValueError: `batch_tokens` is below 1.
    """
    scorer = _Scorer(models, start_id, batch_tokens, device, progress)
    log_probs = np.zeros(len(values))
    first, last = offsets[:-1], offsets[1:]
    context, stride = window.context, window.stride
    if context is None:
        is_long = last - first > TOKENS_PER_PART
        for start, stop in zip(first[is_long].tolist(), last[is_long].tolist(), strict=True):
            parts = (
                values[begin : min(begin + TOKENS_PER_PART, stop)] for begin in range(start, stop, TOKENS_PER_PART)
            )
            carried = _CarriedScorer(scorer)
            log_probs[start:stop] = np.concatenate([carried.score(part) for part in parts])
        first, last = first[~is_long], last[~is_long]
        context = stride = TOKENS_PER_PART
    scorer.score_windows(Windows.over(first, last, context, stride), values, log_probs)
    return log_probs


@dataclass(frozen=True)
class _Scorer:
    """Models and the settings to score text with them."""

    models: Sequence[Any]
    start_id: int
    batch_tokens: int
    device: torch.device | str
    progress: ProgressCallback | None

    def __post_init__(self) -> None:
        if self.batch_tokens < 1:
            raise ValueError(f"`batch_tokens` must be at least 1, but is {self.batch_tokens} instead.")

    def score_windows(self, windows: Windows, values: NDArray[Any], log_probs: NDArray[np.float64]) -> None:
        """Write the log-probabilities of the scored ids into `log_probs`."""
        for rows in windows.batches(self.batch_tokens):
            batch = windows.batch(rows, values, self.start_id).to(self.device)
            means = _mean([_scores(model, batch) for model in self.models])
            scored = (batch.tgt_out != IGNORE).cpu().numpy()
            positions = windows.context_starts[rows][:, None] + np.arange(scored.shape[1])
            log_probs[positions[scored]] = means[scored]
            self.advance(batch.num_tgt_tokens)

    def advance(self, count: int) -> None:
        """Report progress by a number of tokens."""
        if self.progress is not None:
            self.progress(count)


class _CarriedScorer:
    """Score one document part by part, carrying the state of each model."""

    def __init__(self, scorer: _Scorer) -> None:
        self._scorer, self._last = scorer, scorer.start_id
        self._carries: list[Any] = [None] * len(scorer.models)

    def score(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Score the next ids (n,)."""
        part = torch.from_numpy(np.concatenate([[self._last], values.astype(np.int64)]))[None]
        batch = TextBatch(part[:, :-1], part[:, 1:], torch.zeros(1, dtype=torch.int64), len(values))
        batch = batch.to(self._scorer.device)
        members = []
        for i, model in enumerate(self._scorer.models):
            with evaluation_mode(model):
                scores, self._carries[i] = model.score_with_carry(batch, self._carries[i])
            members.append(scores[0].double().cpu().numpy())
        self._last = int(values[-1])
        self._scorer.advance(len(values))
        return _mean(members)


class StreamScorer:
    """Score one document that arrives in parts, in bounded memory, with the same result as `score_text`."""

    def __init__(
        self,
        models: Sequence[Any],
        window: ContextWindow,
        *,
        start_id: int,
        batch_tokens: int = LM_BATCH_TOKENS,
        device: torch.device | str = "cpu",
        progress: ProgressCallback | None = None,
    ) -> None:
        """Start a document; the arguments are those of `score_text`."""
        self._scorer = _Scorer(models, start_id, batch_tokens, device, progress)
        self._window = window
        self._ids: NDArray[np.int64] = np.zeros(0, np.int64)
        """Ids that later windows read; the first one is at position `_base` of the document."""
        self._base = 0
        self._num_windows = 0  # number of scored windows
        self._carried: _CarriedScorer | None = None

    @torch.inference_mode()
    def feed(self, ids: NDArray[Any]) -> NDArray[np.float64]:
        """Add ids (n,); return the log-probabilities (m,) of the next tokens, as far as their windows are complete."""
        self._ids = np.concatenate([self._ids, ids.astype(np.int64)])
        context, stride = self._window.context, self._window.stride
        if context is None:
            return self._score_parts()
        end = self._base + len(self._ids)
        return self._score_windows(max(0, (end - context) // stride + 1) if end >= context else 0)

    @torch.inference_mode()
    def finish(self) -> NDArray[np.float64]:
        """End the document; return the log-probabilities of the remaining tokens."""
        if self._window.context is None:
            if self._carried is not None:
                return self._carried.score(self._ids)
            log_probs = np.zeros(len(self._ids))
            windows = Windows.over(np.zeros(1, np.int64), np.array([len(self._ids)]), TOKENS_PER_PART, TOKENS_PER_PART)
            self._scorer.score_windows(windows, self._ids, log_probs)
            return log_probs
        context, stride = self._window.context, self._window.stride
        return self._score_windows(1 + max(0, -(-(self._base + len(self._ids) - context) // stride)))

    def _score_parts(self) -> NDArray[np.float64]:
        scored = [np.zeros(0)]
        while len(self._ids) > TOKENS_PER_PART:
            self._carried = self._carried or _CarriedScorer(self._scorer)
            scored.append(self._carried.score(self._ids[:TOKENS_PER_PART]))
            self._ids = self._ids[TOKENS_PER_PART:]
        return np.concatenate(scored)

    def _score_windows(self, stop: int) -> NDArray[np.float64]:
        """Score all windows before number `stop`, then drop the ids that later windows do not read."""
        context, stride = self._window.context, self._window.stride
        assert context is not None
        if stop <= self._num_windows:
            return np.zeros(0)
        numbers = np.arange(self._num_windows, stop)
        contexts = numbers * stride - self._base
        starts = np.where(numbers == 0, contexts, contexts + context - stride)
        windows = Windows(contexts, starts, np.minimum(contexts + context, len(self._ids)), numbers == 0)
        log_probs = np.zeros(len(self._ids))
        self._scorer.score_windows(windows, self._ids, log_probs)
        new_log_probs = log_probs[starts[0] : windows.stops[-1]]
        self._num_windows = stop
        kept = max(0, stop * stride - 1 - self._base)
        self._ids, self._base = self._ids[kept:], self._base + kept
        return new_log_probs


def _scores(model: Any, batch: TextBatch) -> NDArray[np.float64]:
    with evaluation_mode(model):
        scores: NDArray[np.float64] = model.score(batch).double().cpu().numpy()
    return scores


def _mean(members: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Average the probabilities of ensemble members, in log space."""
    if len(members) == 1:
        return members[0]
    return np.asarray(np.logaddexp.reduce(members, axis=0) - np.log(len(members)))
