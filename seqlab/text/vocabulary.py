"""Character and word tokenizers: vocabularies with an optional set of tags.

An item is an entry of a vocabulary: a character, a word or a tag.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from seqlab.base.bounds import MAX_VOCAB_SIZE, Count
from seqlab.base.config_class import dataclass
from seqlab.base.json_text import json_text
from seqlab.base.parsing import parse_json, validate_type
from seqlab.text.config import SETTINGS, TrainedTokenizerConfig
from seqlab.text.segmenter import Segmenter, pack_ids
from seqlab.text.tokenizer import SPECIAL_TOKENS, UNK_ID

_ASCII_SPACES = re.compile("[ \t\n\r\v\f]+")
TAB = "\t"
"""Separator between a line and its tags, and prefix of tags in the vocabulary; by itself, it is the unknown tag."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class VocabularyConfig(TrainedTokenizerConfig):
    """Base class of the configs of character and word tokenizers."""

    may_have_unknown: ClassVar[bool] = True
    separator: ClassVar[str]
    """Separator between the items of a text."""

    vocab_size: Annotated[int, Field(ge=5, le=MAX_VOCAB_SIZE)] | None = None
    """Maximum number of ids, including 4 special ids; the most frequent items are kept. None for no limit."""

    min_count: Count = 1
    """Minimum number of occurrences of an item; rarer items are encoded as `unk_id`."""

    tags: bool = False
    """Whether a line can have tags after a tab, separated by `;`, tabs or spaces, as in `walk<tab>V;PST`. Each tag of
    the training text gets an id; the ids of a line's tags follow those of its text."""

    @property
    def has_tags(self) -> bool:
        """Whether lines can have tags after a tab."""
        return self.tags

    def normalize(self, line: str) -> str:
        """Normalize a line before it is segmented, with its tags separated by `;`."""
        line = super().normalize(line)
        if not self.tags:
            return self._normalize_spaces(line)
        text, _, tags = line.partition(TAB)
        text, tags = self._normalize_spaces(text), ";".join(tags.replace(";", " ").split())
        return f"{text}{TAB}{tags}" if tags and text else text

    def _normalize_spaces(self, text: str) -> str:
        """Replace runs of whitespace by single spaces, for a word tokenizer."""
        return " ".join(self.split(text)) if self.separator else text

    def split(self, text: str) -> list[str]:
        """Split a normalized text without tags into items."""
        raise NotImplementedError

    def train(self, lines: Iterable[str]) -> "Vocabulary":
        """Count the items of normalized lines."""
        return Vocabulary.train(self, lines)

    def restore(self, content: bytes) -> "Vocabulary":
        """Restore the vocabulary from `Vocabulary.to_bytes`."""
        items = validate_type(parse_json(content), list[str])
        if len(set(items)) < len(items):
            raise ValueError("the vocabulary contains an item twice")
        return Vocabulary(items, self)


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class CharactersConfig(VocabularyConfig):
    """A character tokenizer: one id per Unicode code point."""

    kind: Literal["characters"] = "characters"
    """Kind of tokenizer."""

    units: ClassVar[Literal["characters"]] = "characters"
    separator: ClassVar[str] = ""

    def split(self, text: str) -> list[str]:
        """Split a text into characters."""
        return list(text)


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class WordsConfig(VocabularyConfig):
    """A word tokenizer: one id per whitespace-separated word."""

    kind: Literal["words"] = "words"
    """Kind of tokenizer."""

    units: ClassVar[Literal["words"]] = "words"
    separator: ClassVar[str] = " "

    unicode_spaces: bool = True
    """Whether all white space of Unicode separates words. If not, only that of ASCII does, as in ARPA files, whose
    words may contain no-break spaces."""

    def split(self, text: str) -> list[str]:
        """Split a text into words at white space."""
        return text.split() if self.unicode_spaces else [word for word in _ASCII_SPACES.split(text) if word]


class Vocabulary(Segmenter):
    """A vocabulary of items, in the order of their frequency, followed by tags."""

    has_unknown: ClassVar[bool] = True

    def __init__(self, items: Sequence[str], config: VocabularyConfig) -> None:
        self._split, self._separator, self._has_tags = config.split, config.separator, config.tags
        self.has_words = bool(config.separator) and not config.tags
        self._tokens = [*SPECIAL_TOKENS, *items]
        self._ids = {item: pack_ids([index]) for index, item in enumerate(items, start=len(SPECIAL_TOKENS))}
        self.vocab_size = len(self._tokens)
        self.num_tags = sum(map(is_tag, items)) if config.tags else 0

    @classmethod
    def train(cls, config: VocabularyConfig, lines: Iterable[str]) -> "Vocabulary":
        """Collect all tags and the most frequent items of lines; ties are in code point order."""
        splitter = cls([], config)
        counts: Counter[str] = Counter()
        for line in lines:
            counts.update(splitter.items(line))
        tags = sorted({*filter(is_tag, counts), TAB}) if config.tags else []
        for tag in tags:
            counts.pop(tag, None)
        ranked = sorted((-count, item) for item, count in counts.items() if count >= config.min_count)
        limit = None if config.vocab_size is None else max(0, config.vocab_size - len(SPECIAL_TOKENS) - len(tags))
        return cls([*(item for _, item in ranked[:limit]), *tags], config)

    def to_bytes(self) -> bytes:
        return json_text(self._tokens[len(SPECIAL_TOKENS) :], indent=0).encode()

    def encode(self, lines: Sequence[str]) -> list[bytes]:
        unknown = pack_ids([UNK_ID])
        if not self._has_tags:
            return [b"".join([self._ids.get(item, unknown) for item in self.items(line)]) for line in lines]
        ids, unknown_tag = self._ids, self._ids[TAB]
        return [
            b"".join([ids.get(item, unknown_tag if is_tag(item) else unknown) for item in self.items(line)])
            for line in lines
        ]

    def items(self, line: str) -> list[str]:
        """Split a normalized line as `encode` does; a line with only tags has no items."""
        if not self._has_tags:
            return self._split(line)
        text, _, tags = line.partition(TAB)
        items = self._split(text)
        return [*items, *(TAB + tag for tag in tags.split(";") if tag)] if items else []

    def unknown_items(self, line: str) -> list[str]:
        unknown = [item for item in self.items(line) if item not in self._ids]
        return [item for item in unknown if not is_tag(item)] if self._has_tags else unknown

    def unknown_tags(self, line: str) -> list[str]:
        return [item[1:] for item in self.items(line) if is_tag(item) and item not in self._ids]

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        if unknown is None:
            return [self._join([self._tokens[index] for index in row]) for row in rows]
        size = self.vocab_size
        return [
            self._join([self._tokens[index] if index < size else items[index - size] for index in row])
            for row, items in zip(rows, unknown, strict=True)
        ]

    def token(self, index: int) -> str:
        return self._tokens[index]

    def _join(self, items: Sequence[str]) -> str:
        """Join items into a line, with its tags after a tab."""
        if not self._has_tags:
            return self._separator.join(items)
        tags = [item[1:] for item in items if is_tag(item)]
        text = self._separator.join(item for item in items if not is_tag(item))
        return f"{text}{TAB}{';'.join(tags)}" if tags else text


def is_tag(item: str) -> bool:
    """Return whether an item of a vocabulary with tags is a tag."""
    return item.startswith(TAB)
