"""A list of characters or of words, and perhaps of tags, for the kinds that look each item up."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar

from seqlab.text.config import CharactersConfig, WordsConfig
from seqlab.text.tokenizer import SPECIAL_TOKENS, UNK_ID
from seqlab.text.words import packed

TAB = "\t"
"""What divides a line from its tags, and begins the name of a tag in the list; by itself, any tag that is unknown."""


class Vocabulary:
    """Items that lines are split into, most frequent first, then tags; the separator of characters is `""`."""

    has_unknown: ClassVar[bool] = True

    def __init__(self, items: Sequence[str], config: CharactersConfig | WordsConfig) -> None:
        self._separator = "" if config.kind == "characters" else " "
        self._has_tags = config.tags
        self._tokens = [*SPECIAL_TOKENS, *items]
        self._ids = {item: packed([index]) for index, item in enumerate(items, start=len(SPECIAL_TOKENS))}
        self.vocab_size = len(self._tokens)
        self.num_tags = sum(map(is_tag, items)) if config.tags else 0

    @classmethod
    def train(cls, config: CharactersConfig | WordsConfig, lines: Iterable[str]) -> "Vocabulary":
        """Keep all tags and the most frequent items of lines, equally frequent ones in code point order."""
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

    @classmethod
    def from_bytes(cls, content: bytes, config: CharactersConfig | WordsConfig) -> "Vocabulary":
        return cls(json.loads(content), config)

    def to_bytes(self) -> bytes:
        return json.dumps(self._tokens[len(SPECIAL_TOKENS) :], indent=0).encode()

    def encode(self, lines: Sequence[str]) -> list[bytes]:
        unknown = packed([UNK_ID])
        if not self._has_tags:
            return [b"".join([self._ids.get(item, unknown) for item in self.items(line)]) for line in lines]
        ids, other_tag = self._ids, self._ids[TAB]
        return [
            b"".join([ids.get(item, other_tag if is_tag(item) else unknown) for item in self.items(line)])
            for line in lines
        ]

    def items(self, line: str) -> list[str]:
        """Cut a normalised line as `encode` does; a line of tags alone has none."""
        if not self._has_tags:
            return line.split() if self._separator else list(line)
        text, _, tags = line.partition(TAB)
        items = text.split() if self._separator else list(text)
        return [*items, *(TAB + tag for tag in tags.split(";") if tag)] if items else []

    def knows(self, item: str) -> bool:
        """Tell whether an item has an id of its own."""
        return item in self._ids

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        if unknown is None:
            return [self._joined([self._tokens[index] for index in row]) for row in rows]
        size = self.vocab_size
        return [
            self._joined([self._tokens[index] if index < size else items[index - size] for index in row])
            for row, items in zip(rows, unknown, strict=True)
        ]

    def token(self, index: int) -> str:
        return self._tokens[index]

    def _joined(self, items: Sequence[str]) -> str:
        if not self._has_tags:
            return self._separator.join(items)
        tags = [item[1:] for item in items if is_tag(item)]
        text = self._separator.join(item for item in items if not is_tag(item))
        return f"{text}{TAB}{';'.join(tags)}" if tags else text


def is_tag(item: str) -> bool:
    """Tell whether an item of a vocabulary that has tags is one."""
    return item.startswith(TAB)
