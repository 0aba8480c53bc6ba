"""A tokenizer with an id for each byte (Xue et al. 2022, ByT5)."""

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic.dataclasses import dataclass

from seqlab.text import LearntConfig, Segmenter, packed
from seqlab.text.config import SETTINGS

FIRST = 4
"""The id of byte 0."""


class Bytes(Segmenter):
    """Lines to bytes and back."""

    vocab_size = FIRST + 256

    def encode(self, lines: Sequence[str]) -> list[bytes]:
        """Give the ids of each line."""
        return [packed([FIRST + byte for byte in line.encode()]) for line in lines]

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        """Give the text of each row; bytes that are no text become U+FFFD."""
        return [bytes(index - FIRST for index in row).decode("utf-8", "replace") for row in rows]

    def token(self, index: int) -> str:
        """Name a byte."""
        return f"<0x{index - FIRST:02X}>"

    def to_bytes(self) -> bytes:
        """Write nothing: there is nothing to learn."""
        return b""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class BytesConfig(LearntConfig):
    """An id for each byte."""

    kind: Literal["bytes"] = "bytes"
    """Which tokenizer this is."""

    def learn(self, lines: Iterable[str]) -> Bytes:
        """Learn nothing."""
        return Bytes()

    def restore(self, content: bytes) -> Bytes:
        """Make the same again."""
        return Bytes()
