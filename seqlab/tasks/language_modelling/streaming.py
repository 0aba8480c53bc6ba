"""Ids that go on after a prompt, as text: what they add to it, where a stop text ends it, how it is told meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seqlab.inference.lines import replace_control_characters
from seqlab.text import Tokenizer

OnText = Callable[[str], None]

UNSETTLED = "\ufffd\x10"
"""Characters that a later id may change: what bytes of an unfinished character are decoded to, and what sentencepiece's
texts are escaped with."""
LONGEST_CHARACTER = 4
"""Ids that a character may take: its bytes."""


class Wording:
    """Text from ids, by the tokenizer and by what ends a continuation."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], min_length: int, *, is_continuous: bool) -> None:
        """Take texts that end a continuation of at least `min_length` ids; in a continuous text eos ends a line."""
        self.tokenizer, self.stop, self.min_length = tokenizer, list(stop), min_length
        self.is_continuous = is_continuous
        self.longest_stop = max(map(len, self.stop), default=0)
        [self._anchor] = tokenizer.encode(["a"])

    def added(self, prompt: Sequence[int], ids: Sequence[int]) -> str:
        """Give what ids add to the text of a prompt; both without the id that a text begins with."""
        return self._text([*prompt, *ids])[len(self._text(prompt)) :]

    def cut(self, prompt: Sequence[int], ids: Sequence[int], before: int = 0) -> tuple[str, bool]:
        """Give what ids add to a prompt, up to the stop text that the last of them completes; and whether one does.

        `before`: how many ids of the continuation are left out in front of them, as those of lines that were told.
        """
        text = self.added(prompt, ids)
        place = self._stop_place(prompt, ids) if before + len(ids) >= self.min_length else -1
        return (text, False) if place < 0 else (text[:place], True)

    def shown(self, text: str) -> tuple[str, int]:
        """Give a text as it is put out, as long as it was, and how many control characters became spaces.

        What a model of single lines says holds none, so that it is one line to every reader.
        """
        return (text, 0) if self.is_continuous else replace_control_characters(text)

    def stopper(self, begins_line: bool) -> Callable[[list[int]], bool] | None:
        """Make what tells whether the last id of a continuation completes a stop text; None where there is none.

        Prompts differ, but all that matters is whether the continuation begins a line, whose first word has no space
        before it.
        """
        if not self.stop:
            return None
        prompt = [] if begins_line else self._anchor
        tail = LONGEST_CHARACTER * (self.longest_stop + 1)
        return lambda ids: self._stop_place(prompt, ids[-tail:]) >= 0

    def could_stop(self, text: str) -> int:
        """Count the last characters of a text with which a stop text may have begun."""
        sizes = range(min(len(text), self.longest_stop), 0, -1)
        return next((n for n in sizes if any(each.startswith(text[-n:]) and len(each) > n for each in self.stop)), 0)

    def whole_lines(self, ids: Sequence[int]) -> int:
        """Count the ids up to the last end of line, which the text behind it does not depend on; 0 for none."""
        ends = (i for i in range(len(ids), 0, -1) if ids[i - 1] == self.tokenizer.eos_id)
        return next(ends, 0) if self.is_continuous else 0

    def _stop_place(self, prompt: Sequence[int], ids: Sequence[int]) -> int:
        """Find where the stop text begins that the last id completes; -1 where it completes none."""
        text = self.added(prompt, ids)
        if not any(each in text for each in self.stop):
            return -1
        before = len(self.added(prompt, ids[:-1]).rstrip(UNSETTLED))
        places = [text.find(each, max(0, before - len(each) + 1)) for each in self.stop]
        return min((place for place in places if place >= 0), default=-1)

    def _text(self, ids: Sequence[int]) -> str:
        """Decode ids; what a model of single lines says is one line too."""
        if not self.is_continuous:
            return self.tokenizer.decode([ids])[0].replace("\n", " ")
        lines: list[list[int]] = [[]]
        for each in ids:
            if each == self.tokenizer.eos_id:
                lines.append([])
            else:
                lines[-1].append(each)
        return "\n".join(self.tokenizer.decode(lines))


class Teller:
    """Tell of a text as it grows: only what no later id can change.

    Lines that are told whole are forgotten, so that an id takes no more time in a text of many lines than of few.
    """

    def __init__(self, wording: Wording, prompt: Sequence[int], on_text: OnText) -> None:
        self._wording, self._on_text = wording, on_text
        self._prompt = list(prompt)[wording.whole_lines(prompt) :]
        self._ids: list[int] = []  # behind the lines that are forgotten
        self._told = 0  # characters of them
        self._forgotten_ids = self._forgotten = 0

    def on_step(self, rows: list[int], ids: list[int]) -> None:
        """Hear of the ids that were drawn; the single row has one at each step."""
        self._ids += ids
        text, has_ended = self._wording.cut(self._prompt, self._ids, self._forgotten_ids)
        if not has_ended:
            text = text.rstrip(UNSETTLED)
            text = text[: len(text) - self._wording.could_stop(text)]
        self._tell(text)
        self._forget()

    def finish(self, text: str) -> None:
        """Tell the rest of the whole text."""
        self._tell(text[self._forgotten :])

    def _tell(self, text: str) -> None:
        if len(text) > self._told:
            self._on_text(self._wording.shown(text[self._told :])[0])
            self._told = len(text)

    def _forget(self) -> None:
        count = self._wording.whole_lines(self._ids)
        size = len(self._wording.added(self._prompt, self._ids[:count])) if count else 0
        if 0 < size <= self._told:
            self._prompt, self._ids = [], self._ids[count:]
            self._told -= size
            self._forgotten_ids += count
            self._forgotten += size
