"""A tokenizer with an id for each byte (Xue et al. 2022, ByT5)."""

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic.dataclasses import dataclass

from seqlab.text import Segmenter, TrainedTokenizerConfig, pack_ids
from seqlab.text.config import SETTINGS

FIRST_BYTE_ID = 4
"""The id of byte 0; ids 0 to 3 are special."""


class Bytes(Segmenter):
    """A tokenizer that encodes text as UTF-8 bytes."""

    vocab_size = FIRST_BYTE_ID + 256

    def encode(self, lines: Sequence[str]) -> list[bytes]:
        """Return the ids of each line."""
        return [pack_ids([FIRST_BYTE_ID + byte for byte in line.encode()]) for line in lines]

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        """Return the text of each row of ids; bytes that are not valid UTF-8 become U+FFFD."""
        return [bytes(index - FIRST_BYTE_ID for index in row).decode("utf-8", "replace") for row in rows]

    def token(self, index: int) -> str:
        """Return the name of a byte, such as `<0x41>`."""
        return f"<0x{index - FIRST_BYTE_ID:02X}>"

    def to_bytes(self) -> bytes:
        """Return no content, since nothing is trained."""
        return b""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class BytesConfig(TrainedTokenizerConfig):
    """Bytes as tokens."""

    kind: Literal["bytes"] = "bytes"
    """Name of the tokenizer."""

    def train(self, lines: Iterable[str]) -> Bytes:
        """Return the tokenizer, which needs no training."""
        return Bytes()

    def restore(self, content: bytes) -> Bytes:
        """Return the tokenizer; it has no saved content."""
        return Bytes()
