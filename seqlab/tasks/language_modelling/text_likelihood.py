"""The likelihood of a text that comes in blocks; two numbers are kept for each line, and no text."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.data.ragged import RaggedArray
from seqlab.data.readers import LinePart
from seqlab.data.row_encoder import encode_text
from seqlab.evaluation.likelihood import TextLikelihood
from seqlab.models.spelling import SpellingModel
from seqlab.tasks.language_modelling.text import Text
from seqlab.tasks.language_modelling.text_scorer import Reading, TextStream, score_text
from seqlab.text import Tokenizer

LogProbs = NDArray[np.float64]


@dataclass(frozen=True)
class LineScore:
    """How likely a line is."""

    log_prob: float | None
    """In nats, the end of line counted, and what the spelling of each unknown item costs; None where something is
    unknown and the run cannot spell."""
    num_tokens: int
    token_log_probs: list[float]
    """In nats, the end of line last; an unknown item has the log-probability of being unknown, not of its spelling."""
    unknown: list[str]
    """What the vocabulary does not have."""


def line_score(log_probs: NDArray[np.float64], unknown: Sequence[str], spellings: Sequence[SpellingModel]) -> LineScore:
    """Sum a line up."""
    cost = spelling_cost(unknown, spellings)
    total = None if cost is None else float(log_probs.sum()) + cost
    return LineScore(total, len(log_probs), log_probs.tolist(), list(unknown))


def spelling_cost(unknown: Sequence[str], spellings: Sequence[SpellingModel]) -> float | None:
    """Sum the log-probabilities of the spellings of unknown items, in nats; None where no model can spell them.

    Several models spell by the mean of their probabilities.
    """
    if unknown and not spellings:
        return None
    spelt = (np.logaddexp.reduce([each.log_prob(item) for each in spellings]) for item in unknown)
    return sum(float(each) - math.log(len(spellings)) for each in spelt)


def added_items(tokenizer: Tokenizer, ids: Sequence[int], text: str, prompt: str) -> list[int | str]:
    """Give what a text has behind that with which its prompt alone begins too: ids, and unknown items themselves."""
    [prompt_ids] = tokenizer.encode([prompt])
    items, others = _items(tokenizer, ids, text), _items(tokenizer, prompt_ids, prompt)
    pairs = enumerate(zip(items, others, strict=False))
    return items[next((i for i, (one, other) in pairs if one != other), min(len(items), len(others))) :]


def _items(tokenizer: Tokenizer, ids: Sequence[int], text: str) -> list[int | str]:
    """Put unknown items into the places of their ids, which are all the same."""
    unknown = iter(tokenizer.unknown_items(text))
    return [next(unknown) if each == tokenizer.unk_id else each for each in ids]


@dataclass(frozen=True)
class _Row:
    """A line or a part of one, whose ids are not all scored yet."""

    ids: NDArray[Any]
    unknown: list[str]
    ends: bool
    """Whether the line ends here."""


@dataclass
class _Line:
    """A line as far as it is scored."""

    log_prob: float = 0.0
    num_tokens: int = 0
    known: float = 0.0
    """The part of `log_prob` that is of tokens which the vocabulary has."""
    unknown: list[str] = field(default_factory=list)
    parts: list[LogProbs] = field(default_factory=list)
    """Of all tokens, where somebody wants each."""


class LikelihoodOfBlocks:
    """Accumulate the log-likelihood of a text block by block."""

    def __init__(
        self,
        models: Sequence[Any],
        tokenizer: Tokenizer,
        spellings: Sequence[SpellingModel],
        reading: Reading,
        on_line: Callable[[LineScore], object] | None = None,
        **how: Any,
    ) -> None:
        """Begin a text.

        Args:
            models: an ensemble over one vocabulary.
            tokenizer: of the models.
            spellings: models of what the vocabulary lacks; none where a run has none.
            reading: what tokens are predicted from; `by_line` says that each line is a text of its own.
            on_line: called with each line in order; without it a line needs no memory for each of its tokens.
            how: the other arguments of `score_text`.
        """
        self._models, self._tokenizer, self._spellings = models, tokenizer, spellings
        self._reading, self._on_line, self._how = reading, on_line, how
        self._stream: TextStream | None = None
        """The document that goes on: the text, or a line that comes in parts."""
        self._rows: deque[_Row] = deque()
        self._scored: LogProbs = np.zeros(0)
        """Of the first of these rows, as far as they are known."""
        self._line = _Line()
        self._nlls, self._known = array("d"), array("d")
        self._num_tokens = self._num_words = self._num_bytes = self._num_unknown = self._num_dropped = 0
        self._is_spelt = True

    def add(self, text: Text) -> None:
        """Add some lines, of which the last may be a part of one that goes on."""
        rows = encode_text(self._tokenizer, text.lines)
        ends = [not isinstance(line, LinePart) for line in text.lines]
        self._rows += map(_Row, rows, map(self._tokenizer.unknown_items, text.lines), ends)
        self._num_words += text.num_lines + sum(len(line.split()) for line in text.lines)
        self._num_bytes += text.num_bytes
        self._num_dropped += text.dropped_bytes(self._tokenizer.normalize)
        if not self._reading.by_line:
            self._take(self._open_stream().feed(rows.values))
        elif all(ends) and self._stream is None:
            self._take(score_text(self._models, rows.values, rows.offsets, self._reading, **self._how))
        else:
            self._add_parts(rows, ends)

    def _add_parts(self, rows: RaggedArray, ends: Sequence[bool]) -> None:
        """Add lines that are texts of their own, some of which come in parts."""
        for row, is_end in zip(rows, ends, strict=True):
            self._take(self._open_stream().feed(row))
            if is_end:
                self._take(self._open_stream().finish())
                self._stream = None

    def _open_stream(self) -> TextStream:
        self._stream = self._stream or TextStream(self._models, self._reading, **self._how)
        return self._stream

    def _take(self, log_probs: LogProbs) -> None:
        """Give log-probabilities to the rows that they belong to."""
        self._scored = np.concatenate([self._scored, log_probs])
        used = 0
        while self._rows and used + len(self._rows[0].ids) <= len(self._scored):
            row = self._rows.popleft()
            self._add_row(row, self._scored[used : used + len(row.ids)])
            used += len(row.ids)
        self._scored = self._scored[used:]

    def _add_row(self, row: _Row, log_probs: LogProbs) -> None:
        line = self._line
        line.log_prob += float(log_probs.sum())
        line.known += float(log_probs[row.ids != self._tokenizer.unk_id].sum())
        line.num_tokens += len(log_probs)
        line.unknown += row.unknown
        if self._on_line is not None:
            line.parts.append(log_probs)
        if row.ends:
            self._end_line()

    def _end_line(self) -> None:
        line, self._line = self._line, _Line()
        cost = spelling_cost(line.unknown, self._spellings)
        total = None if cost is None else line.log_prob + cost
        if total is None:
            self._is_spelt = False
        else:
            self._nlls.append(-total)
        self._known.append(line.known)
        self._num_tokens += line.num_tokens
        self._num_unknown += len(line.unknown)
        if self._on_line is not None:
            self._on_line(LineScore(total, line.num_tokens, np.concatenate(line.parts).tolist(), line.unknown))

    def finish(self) -> TextLikelihood:
        """End the text; raises ValueError where it is empty."""
        if self._stream is not None:
            self._take(self._stream.finish())
        return TextLikelihood(
            nll=math.fsum(self._nlls) if self._is_spelt else None,
            tokens=self._num_tokens,
            words=self._num_words,
            bytes=self._num_bytes,
            unknown=self._num_unknown,
            known_nll=-math.fsum(self._known),
            dropped_bytes=self._num_dropped,
        )
