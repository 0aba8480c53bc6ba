"""Likelihood of single lines, and of a text that is read in blocks, with a memory use of two numbers per line."""

from __future__ import annotations

import logging
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
from seqlab.tasks.language_modelling.text_scorer import ContextWindow, StreamScorer, score_text
from seqlab.text import Tokenizer

logger = logging.getLogger(__name__)

LogProbs = NDArray[np.float64]


@dataclass(frozen=True)
class LineScore:
    """Log-probability of a line and of its tokens."""

    log_prob: float | None
    """In nats, including the end of line and the spelling of each unknown item; None if an item is unknown and the run
    has no spelling model."""
    num_tokens: int
    token_log_probs: list[float]
    """In nats, the end of line last; for an unknown item, of the unknown token without its spelling."""
    unknown: list[str]
    """Items that are not in the vocabulary."""


def line_score(log_probs: NDArray[np.float64], unknown: Sequence[str], spellings: Sequence[SpellingModel]) -> LineScore:
    """Build the score of a line from the log-probabilities of its tokens and its unknown items."""
    spelled = spelling_log_prob(unknown, spellings)
    total = None if spelled is None else float(log_probs.sum()) + spelled
    return LineScore(total, len(log_probs), log_probs.tolist(), list(unknown))


def spelling_log_prob(unknown: Sequence[str], spellings: Sequence[SpellingModel]) -> float | None:
    """Sum the log-probabilities of the spellings of unknown items, in nats; return None without a spelling model.

    The probabilities of several spelling models are averaged.
    """
    if unknown and not spellings:
        return None
    log_sums = (np.logaddexp.reduce([spelling.log_prob(item) for spelling in spellings]) for item in unknown)
    return sum(float(log_sum) - math.log(len(spellings)) for log_sum in log_sums)


def join_prompts(tokenizer: Tokenizer, prompts: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Join each prompt with its line: by a space if the tokens are words, which a line cannot continue.

    Other tokens may continue a word. A warning gives the number of lines that do, if the script has upper and lower
    case: their first space may have been lost.
    """
    pairs = list(zip(prompts, lines, strict=True))
    if tokenizer.has_words:
        return [f"{prompt} {line}" if prompt else line for prompt, line in pairs]
    if split := [pair for pair in pairs if all(map(_has_case, (pair[0][-1:], pair[1][:1])))]:
        text = (
            "%d of %d lines continue the last word of their prompt, such as `%s` + `%s`: start new words with a space"
        )
        logger.warning(text, len(split), len(pairs), split[0][0][-20:], split[0][1][:20])
    return [prompt + line for prompt, line in pairs]


def _has_case(character: str) -> bool:
    return character.lower() != character.upper()


def added_items(tokenizer: Tokenizer, ids: Sequence[int], text: str, prompt: str) -> list[int | str]:
    """Return the items of a text after its longest common prefix with the prompt: ids, or strings of unknown items."""
    [prompt_ids] = tokenizer.encode([prompt])
    items, prompt_items = _items(tokenizer, ids, text), _items(tokenizer, prompt_ids, prompt)
    pairs = enumerate(zip(items, prompt_items, strict=False))
    return items[next((i for i, (one, other) in pairs if one != other), min(len(items), len(prompt_items))) :]


def _items(tokenizer: Tokenizer, ids: Sequence[int], text: str) -> list[int | str]:
    """Replace each unknown id by the string of its item."""
    unknown = iter(tokenizer.unknown_items(text))
    return [next(unknown) if token_id == tokenizer.unk_id else token_id for token_id in ids]


@dataclass(frozen=True)
class _Row:
    """A line, or a part of a line, that is not completely scored yet."""

    ids: NDArray[Any]
    unknown: list[str]
    ends_line: bool


@dataclass
class _Line:
    """Sums over the scored tokens of the current line."""

    log_prob: float = 0.0
    num_tokens: int = 0
    known_log_prob: float = 0.0
    """Log-probability of the tokens other than the unknown token."""
    unknown: list[str] = field(default_factory=list)
    parts: list[LogProbs] = field(default_factory=list)
    """Log-probabilities of all tokens; kept only for `on_line`."""


class BlockwiseLikelihood:
    """Accumulate the log-likelihood of a text block by block."""

    def __init__(
        self,
        models: Sequence[Any],
        tokenizer: Tokenizer,
        spellings: Sequence[SpellingModel],
        window: ContextWindow,
        on_line: Callable[[LineScore], object] | None = None,
        **settings: Any,
    ) -> None:
        """Start a text.

        Args:
            models: an ensemble over one vocabulary.
            tokenizer: tokenizer of the models.
            spellings: spelling models of unknown items; may be empty.
            window: the context of each token; with `by_line` each line is a separate text.
            on_line: called with the score of each line, in order. Without it, token scores are not kept in memory.
            settings: the other arguments of `score_text`.
        """
        self._models, self._tokenizer, self._spellings = models, tokenizer, spellings
        self._window, self._on_line, self._settings = window, on_line, settings
        self._stream: StreamScorer | None = None
        """Scorer of the current document: the text, or a line that arrives in parts."""
        self._rows: deque[_Row] = deque()
        self._scored: LogProbs = np.zeros(0)
        """Log-probabilities of the first ids of `_rows` that were not assigned to a complete row yet."""
        self._line = _Line()
        self._nlls, self._known_log_probs = array("d"), array("d")
        self._num_tokens = self._num_words = self._num_bytes = self._num_unknown = self._num_dropped = 0
        self._can_spell_all = True

    def add(self, text: Text) -> None:
        """Add a block of lines; the last line may be incomplete and continue in the next block."""
        rows = encode_text(self._tokenizer, text.lines)
        ends = [not isinstance(line, LinePart) for line in text.lines]
        self._rows += map(_Row, rows, map(self._tokenizer.unknown_items, text.lines), ends)
        self._num_words += text.num_lines + sum(len(line.split()) for line in text.lines)
        self._num_bytes += text.num_bytes
        self._num_dropped += text.dropped_bytes(self._tokenizer.normalize)
        if not self._window.by_line:
            self._assign(self._open_stream().feed(rows.values))
        elif all(ends) and self._stream is None:
            self._assign(score_text(self._models, rows.values, rows.offsets, self._window, **self._settings))
        else:
            self._add_parts(rows, ends)

    def _add_parts(self, rows: RaggedArray, ends: Sequence[bool]) -> None:
        """Add lines that are separate texts, some of which arrive in parts."""
        for row, is_end in zip(rows, ends, strict=True):
            self._assign(self._open_stream().feed(row))
            if is_end:
                self._assign(self._open_stream().finish())
                self._stream = None

    def _open_stream(self) -> StreamScorer:
        self._stream = self._stream or StreamScorer(self._models, self._window, **self._settings)
        return self._stream

    def _assign(self, log_probs: LogProbs) -> None:
        """Assign log-probabilities to the rows in order, and add up the rows that are complete."""
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
        line.known_log_prob += float(log_probs[row.ids != self._tokenizer.unk_id].sum())
        line.num_tokens += len(log_probs)
        line.unknown += row.unknown
        if self._on_line is not None:
            line.parts.append(log_probs)
        if row.ends_line:
            self._end_line()

    def _end_line(self) -> None:
        line, self._line = self._line, _Line()
        spelled = spelling_log_prob(line.unknown, self._spellings)
        total = None if spelled is None else line.log_prob + spelled
        if total is None:
            self._can_spell_all = False
        else:
            self._nlls.append(-total)
        self._known_log_probs.append(line.known_log_prob)
        self._num_tokens += line.num_tokens
        self._num_unknown += len(line.unknown)
        if self._on_line is not None:
            self._on_line(LineScore(total, line.num_tokens, np.concatenate(line.parts).tolist(), line.unknown))

    def finish(self) -> TextLikelihood:
        """End the text and return its likelihood; raise ValueError if it is empty."""
        if self._stream is not None:
            self._assign(self._stream.finish())
        return TextLikelihood(
            nll=math.fsum(self._nlls) if self._can_spell_all else None,
            tokens=self._num_tokens,
            words=self._num_words,
            bytes=self._num_bytes,
            unknown=self._num_unknown,
            known_nll=-math.fsum(self._known_log_probs),
            dropped_bytes=self._num_dropped,
        )
