"""Input and output lines of commands: checks, control characters and JSON. Each input line has one output line."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

from seqlab.base.json_text import json_text
from seqlab.base.raw_lines import LineLimit
from seqlab.commands import INCOMPLETE
from seqlab.data.readers import DiscardedLine

if TYPE_CHECKING:
    from seqlab.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
"""Unicode category Cc. It includes every character that some programs treat as a line end, except U+2028 and U+2029."""
REPLACEMENT = "\ufffd"
MAX_UNKNOWN_SHOWN = 5
"""Maximum number of unknown items in a warning."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def continues_word(prefix: str, text: str) -> bool:
    """Return whether a text that starts with `prefix` goes on within the last word of the prefix.

    Letters without case, such as Chinese ones, do not show where a word ends.
    """
    end = len(prefix.rstrip(" "))
    seam = text[max(0, end - 1) : end + 1]
    return len(seam) == 2 and all(character.lower() != character.upper() for character in seam)


def is_divided_anew(prefix: str, text: str, tokenizer: "Tokenizer") -> bool:
    """Return whether the tokens of `prefix` are not those that the start of `text` had in training."""
    ids, whole = tokenizer.encode([prefix.rstrip(" "), text])
    return whole[: len(ids)] != ids


class HasText(Protocol):
    """A hypothesis with a text."""

    @property
    def text(self) -> str:
        """The text of the hypothesis."""
        ...


H = TypeVar("H", bound=HasText)


def distinct_texts(hypotheses: Iterable[H]) -> list[H]:
    """Return the first hypothesis with each text of an n-best list; different tokens may give the same text.

    Every search uses it: beams, CTC, non-autoregressive models, ensembles. Samples are draws, which may be equal.
    """
    best: dict[str, H] = {}
    for hypothesis in hypotheses:
        best.setdefault(hypothesis.text, hypothesis)
    return list(best.values())


def replace_control_characters(text: str) -> tuple[str, int]:
    """Replace each control character of a text by a space; return the new text and the number of replacements."""
    return _CONTROL.subn(" ", text)


@dataclass
class TextCounts:
    """Counts of inputs that a model cannot read completely and of outputs that are not text, for warnings."""

    outputs: str
    """Name of the outputs in warnings, such as `translations`."""
    num_inputs: int = 0
    num_outputs: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    """Occurrences of each unknown item."""
    lines_with_unknown: int = 0
    empty_outputs: int = 0
    num_lists: int = 0
    num_hypotheses: int = 1
    """Requested length of n-best lists."""
    shorter_lists: int = 0
    outputs_with_replacements: int = 0
    alternatives_with_replacements: int = 0

    def add_inputs(self, tokenizer: "Tokenizer", lines: Sequence[str]) -> None:
        """Count the lines with items that the vocabulary lacks."""
        self.num_inputs += len(lines)
        for items in filter(None, map(tokenizer.unknown_items, lines)) if tokenizer.has_unknown else ():
            self.lines_with_unknown += 1
            self.unknown.update(items)

    def add_outputs(self, texts: Sequence[str]) -> None:
        """Count the texts with U+FFFD, which decoding puts for bytes that are not UTF-8."""
        self.num_outputs += len(texts)
        self.outputs_with_replacements += sum(REPLACEMENT in text for text in texts)

    def add_alternatives(self, n_best: Iterable[Sequence[HasText]]) -> None:
        """Count the hypotheses with U+FFFD in n-best lists, other than the best ones, which are outputs."""
        alternatives = (hypothesis.text for hypotheses in n_best for hypothesis in hypotheses[1:])
        self.alternatives_with_replacements += sum(REPLACEMENT in text for text in alternatives)

    def add_empty(self, lines: Sequence[str], texts: Sequence[str]) -> None:
        """Count the empty outputs of lines that are not blank."""
        self.empty_outputs += sum(not text and bool(line.strip()) for line, text in zip(lines, texts, strict=True))

    def add_hypotheses(self, n_best: Iterable[Sequence[Any]]) -> None:
        """Count the n-best lists that have fewer hypotheses than requested."""
        for hypotheses in n_best:
            self.num_lists += 1
            self.shorter_lists += len(hypotheses) < self.num_hypotheses

    def warn(self, unknown_level: int = logging.WARNING) -> None:
        """Log a warning for each kind of line that was counted.

        `unknown_level`: level of the message on unknown items, lower for a model that reads their spelling.
        """
        if self.unknown:
            shown = ", ".join(repr(item) for item, _ in self.unknown.most_common(MAX_UNKNOWN_SHOWN))
            more = " ..." if len(self.unknown) > MAX_UNKNOWN_SHOWN else ""
            text = "%s of %s lines have items that are not in the vocabulary and are read as unknown: %s%s"
            logger.log(unknown_level, text, f"{self.lines_with_unknown:,}", f"{self.num_inputs:,}", shown, more)
        if self.empty_outputs:
            text = "%s of %s %s are empty, although their lines are not"
            logger.warning(text, f"{self.empty_outputs:,}", f"{self.num_outputs:,}", self.outputs)
        if self.shorter_lists:
            text = "%s of %s n-best lists have fewer than %d hypotheses: equal texts are listed once"
            logger.warning(text, f"{self.shorter_lists:,}", f"{self.num_lists:,}", self.num_hypotheses)
        reason = "have U+FFFD: the model's output has bytes there that are not a character"
        if self.outputs_with_replacements:
            text = "%s of %s %s %s"
            logger.warning(text, f"{self.outputs_with_replacements:,}", f"{self.num_outputs:,}", self.outputs, reason)
        if self.alternatives_with_replacements:
            text = "%s hypotheses after the best ones %s"
            logger.warning(text, f"{self.alternatives_with_replacements:,}", reason)


def locations_or_numbers(locations: Sequence[str] | None, count: int) -> Sequence[str]:
    """Return `locations`, or `line 1`, `line 2`, ... if it is None; raise ValueError if their number is not `count`."""
    if locations is None:
        return [f"line {number}" for number in range(1, count + 1)]
    if len(locations) != count:
        raise ValueError(f"`locations` must have one entry per line ({count}), but has {len(locations)}.")
    return locations


def write_lines(stream: BinaryIO, lines: Iterable[str]) -> None:
    """Write each string as a line in UTF-8, then flush the stream; the strings must not contain newlines."""
    for line in lines:
        assert "\n" not in line, "a line cannot contain a newline"
        stream.write(line.encode("utf-8") + b"\n")
    stream.flush()


def is_discarded(line: Any) -> bool:
    """Return whether a line replaces one that was too long; JSON output marks it as `truncated`."""
    return isinstance(line, DiscardedLine)


def exit_status(limit: LineLimit) -> int:
    """Return the exit status of a command that reads lines under a limit; warn if lines were discarded."""
    if not limit.discarded:
        return 0
    name, number = limit.discarded.locations[0]
    logger.warning(
        "%d line(s) exceed %s bytes (--max_line_bytes), so their output lines are empty; the first is %s",
        len(limit.discarded),
        f"{limit.max_bytes:,}",
        f"{name}, line {number}",
    )
    return INCOMPLETE


def refuse_non_strings(texts: Sequence[str], name: str) -> None:
    """Raise ValueError unless the texts are a list of strings; a single string and an iterator are refused, too."""
    if isinstance(texts, str | bytes):
        raise ValueError(f"`{name}` must be a list of texts, but is one string: put it into a list.")
    if isinstance(texts, Iterator):
        raise ValueError(f"`{name}` must be a list of texts, but is an iterator: make a list of it.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"`{name}` must hold strings, but entry {i} is {text!r:.80}.")


def refuse_newlines(lines: Sequence[str], name: str) -> None:
    """Raise ValueError if a line is not a string, or contains a newline, which would make two output lines of it."""
    refuse_non_strings(lines, name)
    for i, line in enumerate(lines):
        if "\n" in line:
            raise ValueError(f"`{name}` must hold single lines, but entry {i} holds a newline: split it first.")


def json_line(values: dict[str, Any]) -> str:
    """Format an object as a line of JSON; infinite numbers and NaN, such as the logarithm of 0, become null."""
    text = json_text(values, ensure_ascii=False)
    # Surrogates, from file names that are not UTF-8, cannot be encoded: JSON escapes them.
    is_encodable = text.isascii() or not _SURROGATE.search(text)
    return text if is_encodable else json_text(values)
