"""Byte-pair encoding over bytes, by Hugging Face `tokenizers`."""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import tokenizers
from pydantic import Field
from pydantic.dataclasses import dataclass
from tokenizers import decoders, models, pre_tokenizers, trainers

from seqlab.base.bounds import MAX_VOCAB_SIZE, Count
from seqlab.text.config import SETTINGS, LearntConfig
from seqlab.text.segmenter import Segmenter
from seqlab.text.tokenizer import SPECIAL_TOKENS
from seqlab.text.words import WordMemory, packed

# The model underneath knows no special tokens, which it would find in the text; its ids start after them instead.
_FIRST_ID = len(SPECIAL_TOKENS)

# What a line cannot have if it is to be cut at its spaces: a run of whitespace may be a piece of its own.
_SPACES = re.compile(r"\s\s|^\s|\s\Z")

# How byte-level models write bytes as characters: those that print stand for themselves, the others follow from U+0100.
_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_HIDDEN = [byte for byte in range(0x100) if byte not in _PRINTED]
_BYTE_OF = {chr(byte): byte for byte in _PRINTED} | {chr(0x100 + n): byte for n, byte in enumerate(_HIDDEN)}


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class BpeConfig(LearntConfig):
    """Byte-pair encoding over bytes (Radford et al., 2019), by Hugging Face `tokenizers`; it cannot sample."""

    kind: Literal["bpe"] = "bpe"
    """Which tokenizer this is."""

    vocab_size: Annotated[int, Field(ge=260, le=MAX_VOCAB_SIZE)] = 8000
    """Number of ids, 4 special ones and 256 bytes counted. A text that supports fewer gets fewer."""

    min_count: Count = 2
    """Occurrences that a pair needs to be merged."""

    def learn(self, lines: Iterable[str]) -> "ByteLevelBpe":
        """Learn the merges."""
        return ByteLevelBpe.train(self, lines)

    def restore(self, content: bytes) -> "ByteLevelBpe":
        """Restore the model."""
        return ByteLevelBpe(tokenizers.Tokenizer.from_str(content.decode()))


class ByteLevelBpe(Segmenter):
    """A byte-level BPE model; a space goes before each line, so that a word is the same at its start."""

    def __init__(self, model: tokenizers.Tokenizer) -> None:
        self._model = model
        self._words = WordMemory(lambda word: self._segment(f" {word}"))
        self.vocab_size = model.get_vocab_size() + _FIRST_ID

    @classmethod
    def train(cls, config: BpeConfig, lines: Iterable[str]) -> "ByteLevelBpe":
        """Learn from lines, of which only the distinct words and their counts are held in memory."""
        model = tokenizers.Tokenizer(models.BPE())
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        model.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=config.vocab_size - _FIRST_ID,
            min_frequency=config.min_count,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        model.train_from_iterator(map(_add_space, lines), trainer)
        return cls(model)

    def to_bytes(self) -> bytes:
        return self._model.to_str().encode()

    def encode(self, lines: Sequence[str]) -> list[bytes]:
        return [
            packed(self._segment(f" {line}")) if _SPACES.search(line) else self._words.encode(line) for line in lines
        ]

    def _segment(self, text: str) -> list[int]:
        return [index + _FIRST_ID for index in self._model.encode(text).ids]

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        lines = self._model.decode_batch([[index - _FIRST_ID for index in row] for row in rows])
        return [line.removeprefix(" ") for line in lines]

    def token(self, index: int) -> str:
        symbols = self._model.id_to_token(index - _FIRST_ID)
        assert symbols is not None  # an id from 4 to vocab_size - 1
        piece = bytes(_BYTE_OF[symbol] for symbol in symbols)
        try:
            return piece.decode()
        except UnicodeDecodeError:  # a part of a character
            return "".join(f"<0x{byte:02X}>" for byte in piece)


def _add_space(line: str) -> str:
    return f" {line}" if line else ""
