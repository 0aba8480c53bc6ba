"""Incremental detokenization of a continuation, with stop texts and streaming output."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seqlab.inference.lines import replace_control_characters
from seqlab.text import Tokenizer

OnText = Callable[[str], None]
"""Called with each new piece of the text of a continuation."""

PROVISIONAL_CHARACTERS = "\ufffd\x10"
"""Final characters that a later id may change: U+FFFD for an incomplete UTF-8 character, and the escape character that
`seqlab` adds to sentencepiece's texts."""
MAX_IDS_PER_CHARACTER = 4
"""A character has at most 4 bytes in UTF-8, each of which may be an id."""


class Detokenizer:
    """Decode the ids of a continuation after its prompt, up to the first stop text."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], min_length: int, *, is_continuous: bool) -> None:
        """Store the settings.

        Args:
            tokenizer: tokenizer of the model.
            stop: texts that end a continuation; the continuation does not include them.
            min_length: minimum number of ids before a stop text counts.
            is_continuous: whether eos is a newline inside the text rather than the end of the text.
        """
        self.tokenizer, self.stop, self.min_length = tokenizer, list(stop), min_length
        self.is_continuous = is_continuous
        self.longest_stop = max(map(len, self.stop), default=0)
        [self._word_ids] = tokenizer.encode(["a"])  # a prompt within a line, see `stop_condition`

    def continuation(self, prompt: Sequence[int], ids: Sequence[int]) -> str:
        """Decode the ids after a prompt; both are without the start id."""
        return self._text([*prompt, *ids])[len(self._text(prompt)) :]

    def until_stop(self, prompt: Sequence[int], ids: Sequence[int], num_skipped: int = 0) -> tuple[str, bool]:
        """Decode the ids after a prompt, and cut the text at the stop text that the last id completes.

        Args:
            prompt: ids before the continuation.
            ids: the continuation, or its last ids.
            num_skipped: number of ids of the continuation before `ids`; they count for `min_length`.

        Returns:
            The text, and whether a stop text ended it.
        """
        text = self.continuation(prompt, ids)
        position = self._stop_position(prompt, ids) if num_skipped + len(ids) >= self.min_length else -1
        return (text, False) if position < 0 else (text[:position], True)

    def printable(self, text: str) -> tuple[str, int]:
        """Replace control characters by spaces in the output of a model of single lines; return their number, too.

        Some programs treat control characters as line ends. The length of the text does not change.
        """
        return (text, 0) if self.is_continuous else replace_control_characters(text)

    def stop_condition(self, begins_line: bool) -> Callable[[list[int]], bool] | None:
        """Return a function that checks whether the last id completes a stop text; None if there are no stop texts.

        It does not depend on the prompt except for `begins_line`: the first word of a line has no space before it.
        """
        if not self.stop:
            return None
        prompt = [] if begins_line else self._word_ids
        tail = MAX_IDS_PER_CHARACTER * (self.longest_stop + 1)
        return lambda ids: self._stop_position(prompt, ids[-tail:]) >= 0

    def num_pending(self, text: str) -> int:
        """Count the final characters of a text that may be the beginning of a stop text."""
        sizes = range(min(len(text), self.longest_stop), 0, -1)
        return next((n for n in sizes if any(stop.startswith(text[-n:]) and len(stop) > n for stop in self.stop)), 0)

    def num_complete(self, ids: Sequence[int]) -> int:
        """Count the ids of complete lines; the text after them does not depend on them."""
        ends = (i for i in range(len(ids), 0, -1) if ids[i - 1] == self.tokenizer.eos_id)
        return next(ends, 0) if self.is_continuous else 0

    def _stop_position(self, prompt: Sequence[int], ids: Sequence[int]) -> int:
        """Find the start of the stop text that the last id completes; -1 if it completes none."""
        text = self.continuation(prompt, ids)
        if not any(stop in text for stop in self.stop):
            return -1
        before = len(self.continuation(prompt, ids[:-1]).rstrip(PROVISIONAL_CHARACTERS))
        positions = [text.find(stop, max(0, before - len(stop) + 1)) for stop in self.stop]
        return min((position for position in positions if position >= 0), default=-1)

    def _text(self, ids: Sequence[int]) -> str:
        """Decode ids; newlines in the output of a model of single lines become spaces."""
        if not self.is_continuous:
            return self.tokenizer.decode([ids])[0].replace("\n", " ")
        lines: list[list[int]] = [[]]
        for token_id in ids:
            if token_id == self.tokenizer.eos_id:
                lines.append([])
            else:
                lines[-1].append(token_id)
        return "\n".join(self.tokenizer.decode(lines))


class TextStreamer:
    """Stream the text of a continuation: emit characters as soon as later ids cannot change them.

    Complete lines are dropped after they were emitted, so that the time per id does not grow with the number of lines.
    """

    def __init__(self, detokenizer: Detokenizer, prompt: Sequence[int], on_text: OnText) -> None:
        self._detokenizer, self._on_text = detokenizer, on_text
        self._prompt = list(prompt)[detokenizer.num_complete(prompt) :]
        self._ids: list[int] = []  # after the dropped lines
        self._num_emitted = 0  # characters of `_ids` that were emitted
        self._num_dropped_ids = self._num_dropped = 0  # ids and characters of dropped lines

    def on_step(self, rows: list[int], ids: list[int]) -> None:
        """Add the sampled ids of a step, one id for the single row, and emit new text."""
        self._ids += ids
        text, has_ended = self._detokenizer.until_stop(self._prompt, self._ids, self._num_dropped_ids)
        if not has_ended:
            text = text.rstrip(PROVISIONAL_CHARACTERS)
            text = text[: len(text) - self._detokenizer.num_pending(text)]
        self._emit(text)
        self._drop_lines()

    def finish(self, text: str) -> None:
        """Emit the rest of the complete text."""
        self._emit(text[self._num_dropped :])

    def _emit(self, text: str) -> None:
        if len(text) > self._num_emitted:
            self._on_text(self._detokenizer.printable(text[self._num_emitted :])[0])
            self._num_emitted = len(text)

    def _drop_lines(self) -> None:
        count = self._detokenizer.num_complete(self._ids)
        size = len(self._detokenizer.continuation(self._prompt, self._ids[:count])) if count else 0
        if 0 < size <= self._num_emitted:
            self._prompt, self._ids = [], self._ids[count:]
            self._num_emitted -= size
            self._num_dropped_ids += count
            self._num_dropped += size
