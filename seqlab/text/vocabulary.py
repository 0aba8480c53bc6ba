"""A list of characters or of words, for the kinds that look each item up."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar

from seqlab.text.config import CharactersConfig, WordsConfig
from seqlab.text.tokenizer import SPECIAL_TOKENS, UNK_ID
from seqlab.text.words import packed


class Vocabulary:
    """Items that lines are split into, most frequent first; the separator is `""` for characters, `" "` for words."""

    has_unknown: ClassVar[bool] = True

    def __init__(self, items: Sequence[str], separator: str) -> None:
        self._separator = separator
        self._tokens = [*SPECIAL_TOKENS, *items]
        self._ids = {item: packed([index]) for index, item in enumerate(items, start=len(SPECIAL_TOKENS))}
        self.vocab_size = len(self._tokens)

    @classmethod
    def train(cls, config: CharactersConfig | WordsConfig, lines: Iterable[str]) -> "Vocabulary":
        """Keep the most frequent items of lines, equally frequent ones in code point order."""
        separator = _separator(config)
        counts: Counter[str] = Counter()
        for line in lines:
            counts.update(_split(line, separator))
        ranked = sorted((-count, item) for item, count in counts.items() if count >= config.min_count)
        limit = None if config.vocab_size is None else config.vocab_size - len(SPECIAL_TOKENS)
        return cls([item for _, item in ranked[:limit]], separator)

    @classmethod
    def from_bytes(cls, content: bytes, config: CharactersConfig | WordsConfig) -> "Vocabulary":
        return cls(json.loads(content), _separator(config))

    def to_bytes(self) -> bytes:
        return json.dumps(self._tokens[len(SPECIAL_TOKENS) :], indent=0).encode()

    def encode(self, lines: Sequence[str]) -> list[bytes]:
        unknown = packed([UNK_ID])
        return [b"".join([self._ids.get(item, unknown) for item in _split(line, self._separator)]) for line in lines]

    def items(self, line: str) -> list[str]:
        """Cut a normalised line as `encode` does."""
        return list(_split(line, self._separator))

    def knows(self, item: str) -> bool:
        """Tell whether an item has an id of its own."""
        return item in self._ids

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        return [self._separator.join([self._tokens[index] for index in row]) for row in rows]

    def token(self, index: int) -> str:
        return self._tokens[index]


def _separator(config: CharactersConfig | WordsConfig) -> str:
    return "" if config.kind == "characters" else " "


def _split(line: str, separator: str) -> Sequence[str]:
    return line.split() if separator else line
