"""How likely each token of a text is given what stands before: in blocks, by a sliding window, or given all of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.base.world import OnRows
from seqlab.data.batch import IGNORE, TextBatch
from seqlab.inference.decode import evaluation_mode

logger = logging.getLogger(__name__)

LM_BATCH_TOKENS = 8192
"""Tokens that are scored together unless the caller says otherwise."""
CARRIED_TOKENS = 2048
"""Tokens of one text that are read at once where each is given everything before it; the model's state goes on."""

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """What each token is predicted from: a window of `context` tokens that moves on by `stride`.

    The first window of a text is scored whole, of the others the last `stride` tokens. With a stride as large as the
    context these are blocks, which know nothing of what stands before but one token. A context of None is everything
    before, for models that carry a state on.
    """

    context: int | None
    stride: int
    by_line: bool = False
    """Whether each line is a text: only for messages."""

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
            return f"each token given everything before it in its {'line' if self.by_line else 'text'}"
        if self.by_line:
            longer = f"blocks of {self.context}" if self.stride == self.context else f"steps of {self.stride}"
            return f"each line by itself; one of more than {self.context} tokens in {longer}"
        if self.stride == self.context:
            return f"blocks of {self.context} tokens, which know one token of what stands before them"
        return f"a sliding window of {self.context} tokens that moves on by {self.stride}"


def reading_of_lines(lengths: Places, limit: int | None) -> Reading:
    """Choose how lines of so many tokens are read: each token given its whole line before it, if models can.

    Where a line is longer than the `limit` that models look back on, each of its tokens is given half of that many
    before it at least. A warning counts such lines.
    """
    if limit is None:
        return Reading(None, 1)
    reading, too_long = Reading(limit, max(1, limit // 2)), int((lengths > limit).sum())
    if too_long:
        logger.warning(
            "lines longer than the model looks back: %d of %d; they are read by %s", too_long, len(lengths), reading
        )
    return reading


@dataclass(frozen=True)
class Windows:
    """Parts of a text that are read at once; of each, the ids `starts` to `stops` are scored."""

    contexts: Places  # (windows,): where reading begins
    starts: Places
    stops: Places
    begins: NDArray[np.bool_]  # whether a document begins there

    @classmethod
    def over(cls, first: Places, last: Places, context: int, stride: int) -> Windows:
        """Cover documents, of which the i-th holds the ids first[i] to last[i]."""
        counts = 1 + np.maximum(0, -(-(last - first - context) // stride))
        document = np.repeat(np.arange(len(first)), counts)
        number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
        contexts = first[document] + number * stride
        starts = np.where(number == 0, contexts, contexts + context - stride)
        return cls(contexts, starts, np.minimum(contexts + context, last[document]), number == 0)

    def batches(self, batch_tokens: int) -> Iterator[Places]:
        """Yield the windows in groups of one length, so that nothing is padded."""
        lengths = self.stops - self.contexts
        order = np.argsort(lengths, kind="stable")
        for same in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
            size = max(1, batch_tokens // max(1, int(lengths[same[0]]) if len(same) else 1))
            for start in range(0, len(same), size):
                yield same[start : start + size]

    def batch(self, rows: Places, values: NDArray[Any], start_id: int) -> TextBatch:
        """Read windows of one length into a batch."""
        places = self.contexts[rows][:, None] + np.arange(int((self.stops - self.contexts)[rows[0]]))
        tgt_out = values[places].astype(np.int64)
        before = values[np.maximum(self.contexts[rows] - 1, 0)].astype(np.int64)
        first = np.where(self.begins[rows], start_id, before)
        tgt_in = np.concatenate([first[:, None], tgt_out[:, :-1]], axis=1)
        tgt_out[places < self.starts[rows][:, None]] = IGNORE
        num_tokens = int((tgt_out != IGNORE).sum())
        return TextBatch(torch.from_numpy(tgt_in), torch.from_numpy(tgt_out), torch.from_numpy(rows), num_tokens)


@torch.inference_mode()
def score_text(
    models: Sequence[Any],
    values: NDArray[Any],
    offsets: Places,
    reading: Reading,
    *,
    start_id: int,
    batch_tokens: int = LM_BATCH_TOKENS,
    device: torch.device | str = "cpu",
    progress: OnRows | None = None,
) -> NDArray[np.float64]:
    """Give the log-probability in nats of each id; batches change no score.

    Args:
        models: one `Scorer` over text, or an ensemble, on `device`: their probabilities are averaged token by token.
        values: the ids of all documents end to end.
        offsets: where each document begins, and where the last one ends.
        reading: what each id is predicted from.
        start_id: what is read before the first id of a document.
        batch_tokens: tokens that are scored together: memory and speed.
        device: where the models are.
        progress: called after each batch with how many more tokens are done.

    Raises:
        ValueError: `batch_tokens` is below 1.
    """
    scorer = _Scorer(models, start_id, batch_tokens, device, progress)
    log_probs = np.zeros(len(values))
    first, last = offsets[:-1], offsets[1:]
    context, stride = reading.context, reading.stride
    if context is None:
        is_long = last - first > CARRIED_TOKENS
        for start, stop in zip(first[is_long].tolist(), last[is_long].tolist(), strict=True):
            parts = (values[begin : min(begin + CARRIED_TOKENS, stop)] for begin in range(start, stop, CARRIED_TOKENS))
            carried = _Carried(scorer)
            log_probs[start:stop] = np.concatenate([carried.score(part) for part in parts])
        first, last = first[~is_long], last[~is_long]
        context = stride = CARRIED_TOKENS
    scorer.score_windows(Windows.over(first, last, context, stride), values, log_probs)
    return log_probs


@dataclass(frozen=True)
class _Scorer:
    """Models, and how they are given text."""

    models: Sequence[Any]
    start_id: int
    batch_tokens: int
    device: torch.device | str
    progress: OnRows | None

    def __post_init__(self) -> None:
        if self.batch_tokens < 1:
            raise ValueError(f"`batch_tokens` must be at least 1, but is {self.batch_tokens} instead.")

    def score_windows(self, windows: Windows, values: NDArray[Any], log_probs: NDArray[np.float64]) -> None:
        """Put the log-probabilities of what windows score into their positions in `log_probs`."""
        for rows in windows.batches(self.batch_tokens):
            batch = windows.batch(rows, values, self.start_id).to(self.device)
            found = _mean([_scores(model, batch) for model in self.models])
            scored = (batch.tgt_out != IGNORE).cpu().numpy()
            places = windows.contexts[rows][:, None] + np.arange(scored.shape[1])
            log_probs[places[scored]] = found[scored]
            self.advance(batch.num_tgt_tokens)

    def advance(self, count: int) -> None:
        """Report that more tokens are done."""
        if self.progress is not None:
            self.progress(count)


class _Carried:
    """Scores one document part by part, with what the models remember of all before."""

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


class TextStream:
    """Scores one document that comes part by part, as `score_text` scores it whole; memory has bounds."""

    def __init__(
        self,
        models: Sequence[Any],
        reading: Reading,
        *,
        start_id: int,
        batch_tokens: int = LM_BATCH_TOKENS,
        device: torch.device | str = "cpu",
        progress: OnRows | None = None,
    ) -> None:
        """Begin a document; the arguments are as in `score_text`."""
        self._scorer = _Scorer(models, start_id, batch_tokens, device, progress)
        self._reading = reading
        self._ids: NDArray[np.int64] = np.zeros(0, np.int64)
        """Those that are still needed: the first is at position `_base` of the document."""
        self._base = self._window = 0
        self._carried: _Carried | None = None

    @torch.inference_mode()
    def feed(self, ids: NDArray[Any]) -> NDArray[np.float64]:
        """Add ids (n,); return the log-probabilities of the next tokens whose context is complete (m,)."""
        self._ids = np.concatenate([self._ids, ids.astype(np.int64)])
        context, stride = self._reading.context, self._reading.stride
        if context is None:
            return self._carry_on()
        end = self._base + len(self._ids)
        return self._score(max(0, (end - context) // stride + 1) if end >= context else 0)

    @torch.inference_mode()
    def finish(self) -> NDArray[np.float64]:
        """End the document; return the log-probabilities of all that are left."""
        if self._reading.context is None:
            if self._carried is not None:
                return self._carried.score(self._ids)
            log_probs = np.zeros(len(self._ids))
            whole = Windows.over(np.zeros(1, np.int64), np.array([len(self._ids)]), CARRIED_TOKENS, CARRIED_TOKENS)
            self._scorer.score_windows(whole, self._ids, log_probs)
            return log_probs
        context, stride = self._reading.context, self._reading.stride
        return self._score(1 + max(0, -(-(self._base + len(self._ids) - context) // stride)))

    def _carry_on(self) -> NDArray[np.float64]:
        found = [np.zeros(0)]
        while len(self._ids) > CARRIED_TOKENS:
            self._carried = self._carried or _Carried(self._scorer)
            found.append(self._carried.score(self._ids[:CARRIED_TOKENS]))
            self._ids = self._ids[CARRIED_TOKENS:]
        return np.concatenate(found)

    def _score(self, stop: int) -> NDArray[np.float64]:
        """Score the windows up to number `stop`, and forget the ids before the one that precedes the next."""
        context, stride = self._reading.context, self._reading.stride
        assert context is not None
        if stop <= self._window:
            return np.zeros(0)
        numbers = np.arange(self._window, stop)
        contexts = numbers * stride - self._base
        starts = np.where(numbers == 0, contexts, contexts + context - stride)
        windows = Windows(contexts, starts, np.minimum(contexts + context, len(self._ids)), numbers == 0)
        log_probs = np.zeros(len(self._ids))
        self._scorer.score_windows(windows, self._ids, log_probs)
        found = log_probs[starts[0] : windows.stops[-1]]
        self._window = stop
        kept = max(0, stop * stride - 1 - self._base)
        self._ids, self._base = self._ids[kept:], self._base + kept
        return found


def _scores(model: Any, batch: TextBatch) -> NDArray[np.float64]:
    with evaluation_mode(model):
        scores: NDArray[np.float64] = model.score(batch).double().cpu().numpy()
    return scores


def _mean(members: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Average probabilities, given and returned as their logarithms."""
    if len(members) == 1:
        return members[0]
    return np.asarray(np.logaddexp.reduce(members, axis=0) - np.log(len(members)))
