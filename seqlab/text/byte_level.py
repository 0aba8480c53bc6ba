"""Byte-level BPE tokenizer, with the library `tokenizers` of Hugging Face."""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import tokenizers
from pydantic import Field
from tokenizers import decoders, models, pre_tokenizers, trainers

from seqlab.base.bounds import MAX_VOCAB_SIZE, Count
from seqlab.base.config_class import dataclass
from seqlab.text.config import SETTINGS, TrainedTokenizerConfig
from seqlab.text.segmenter import Segmenter, WordCache, pack_ids
from seqlab.text.tokenizer import SPECIAL_TOKENS

# The library's model has no special tokens, because it would match them in text. Its ids are shifted to follow them.
_FIRST_ID = len(SPECIAL_TOKENS)

# Matches lines that must not be split into words at spaces, because a run of whitespace can be a separate token.
_MULTIPLE_SPACES = re.compile(r"\s\s|^\s|\s\Z")

# Byte-level models represent bytes as characters: printable bytes as themselves, all others as U+0100 and following.
_PRINTABLE_BYTES = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHER_BYTES = [byte for byte in range(0x100) if byte not in _PRINTABLE_BYTES]
_BYTE_OF_CHARACTER = {chr(byte): byte for byte in _PRINTABLE_BYTES} | {
    chr(0x100 + n): byte for n, byte in enumerate(_OTHER_BYTES)
}


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class BpeConfig(TrainedTokenizerConfig):
    """Byte-pair encoding over bytes (Radford et al., 2019), with Hugging Face's `tokenizers`; no subword sampling."""

    kind: Literal["bpe"] = "bpe"
    """Kind of tokenizer."""

    vocab_size: Annotated[int, Field(ge=260, le=MAX_VOCAB_SIZE)] = 8000
    """Number of ids, including 4 special ids and 256 bytes. It is smaller if the text supports fewer."""

    min_count: Count = 2
    """Minimum number of occurrences of a pair that is merged."""

    def train(self, lines: Iterable[str]) -> "ByteLevelBpe":
        """Train the merges on normalized lines."""
        return ByteLevelBpe.train(self, lines)

    def restore(self, content: bytes) -> "ByteLevelBpe":
        """Restore the model from `ByteLevelBpe.to_bytes`."""
        return ByteLevelBpe(tokenizers.Tokenizer.from_str(content.decode()))


class ByteLevelBpe(Segmenter):
    """A byte-level BPE model; it adds a space before each line, so that the first word is tokenized like any other."""

    def __init__(self, model: tokenizers.Tokenizer) -> None:
        self._model = model
        self._words = WordCache(lambda word: self._segment(f" {word}"))
        self.vocab_size = model.get_vocab_size() + _FIRST_ID

    @classmethod
    def train(cls, config: BpeConfig, lines: Iterable[str]) -> "ByteLevelBpe":
        """Train on lines; only the distinct words and their counts are held in memory."""
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
            pack_ids(self._segment(f" {line}")) if _MULTIPLE_SPACES.search(line) else self._words.encode(line)
            for line in lines
        ]

    def _segment(self, text: str) -> list[int]:
        return [index + _FIRST_ID for index in self._model.encode(text).ids]

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        lines = self._model.decode_batch([[index - _FIRST_ID for index in row] for row in rows])
        return [line.removeprefix(" ") for line in lines]

    def token(self, index: int) -> str:
        characters = self._model.id_to_token(index - _FIRST_ID)
        assert characters is not None  # an id from 4 to vocab_size - 1
        piece = bytes(_BYTE_OF_CHARACTER[character] for character in characters)
        try:
            return piece.decode()
        except UnicodeDecodeError:  # the bytes are a part of a character
            return "".join(f"<0x{byte:02X}>" for byte in piece)


def _add_space(line: str) -> str:
    return f" {line}" if line else ""
