"""Subwords by sentencepiece: byte-pair encoding and the unigram model, both with byte fallback and with sampling."""

import io
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Annotated, ClassVar, Literal

import numpy as np
import sentencepiece
from pydantic import Field
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import MAX_COUNT, MAX_VOCAB_SIZE
from seqlab.text.config import SETTINGS, LearntConfig
from seqlab.text.sampling import BpeDropout, UnigramSampling
from seqlab.text.segmenter import Segmenter
from seqlab.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from seqlab.text.words import WordMemory

_SPACE = (
    "▁"  # stands for a space in every piece, so that in a text it is written as _ESCAPE + "1", and _ESCAPE as + "0"
)
_ESCAPE = "\x10"
_SKIPPED_BY_TRAINER = re.compile("[\t\0▅]")
_TOO_SMALL = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")
_TRAINER_THREADS = 4  # fixed: the unigram model's sums depend on their number, on no machine's count of cores
_MAX_LINE_BYTES = 2**24  # the trainer leaves out longer lines; its own limit is 4,192


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class SentencePieceConfig(LearntConfig):
    """The base of the settings of both kinds."""

    may_sample: ClassVar[bool] = True

    vocab_size: Annotated[int, Field(ge=261, le=MAX_VOCAB_SIZE)] = 8000
    """Number of ids, 4 special ones and 256 bytes counted. A text that supports fewer gets fewer."""

    character_coverage: Annotated[float, Field(ge=0.98, le=1.0)] = 0.9995
    """Share of the text's characters that get ids of their own; the rest, the rarest, are spelt in bytes."""

    max_train_lines: Annotated[int, Field(gt=100, le=MAX_COUNT)] = 1_000_000
    """Lines held in memory to learn from: of a longer text, a random sample of this many."""

    @property
    def character_share(self) -> float:
        """Share of the text's characters that get ids besides those of subwords."""
        return self.character_coverage

    def learn(self, lines: Iterable[str]) -> "SentencePiece":
        """Learn from lines; raise ValueError where `vocab_size` has no room for the characters."""
        return SentencePiece.train(self, lines)

    def restore(self, content: bytes) -> "SentencePiece":
        """Restore the model."""
        return SentencePiece(content, self)


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class SentencePieceBpeConfig(SentencePieceConfig):
    """Byte-pair encoding (Sennrich et al., 2016) with byte fallback, by sentencepiece."""

    kind: Literal["sentencepiece_bpe"] = "sentencepiece_bpe"
    """Which tokenizer this is."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class SentencePieceUnigramConfig(SentencePieceConfig):
    """A unigram language model over subwords (Kudo, 2018) with byte fallback, by sentencepiece."""

    kind: Literal["sentencepiece_unigram"] = "sentencepiece_unigram"
    """Which tokenizer this is."""

    max_train_lines: Annotated[int, Field(gt=100, le=MAX_COUNT)] = 500_000
    """Lines held in memory to learn from, 2 kB each: of a longer text, a random sample of this many."""


class SentencePiece(Segmenter):
    """A sentencepiece model whose text round-trips: identity normaliser, and `▁` told apart from a space."""

    can_sample: ClassVar[bool] = True

    def __init__(self, model: bytes, config: SentencePieceConfig) -> None:
        self._is_bpe = config.kind == "sentencepiece_bpe"
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self._words = WordMemory(self._segment)
        self.vocab_size = self._processor.vocab_size()

    @classmethod
    def train(cls, config: SentencePieceConfig, lines: Iterable[str]) -> "SentencePiece":
        """Learn from lines; raise ValueError where `vocab_size` has no room for the characters."""
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                # A line with one of these would not be learned from at all; as a byte, each is known anyway.
                sentence_iterator=(
                    _SKIPPED_BY_TRAINER.sub(" ", _escape(line)) for line in _drawn(lines, config.max_train_lines)
                ),
                model_writer=model,
                model_type=config.kind.removeprefix("sentencepiece_"),
                vocab_size=config.vocab_size,
                hard_vocab_limit=False,
                character_coverage=config.character_coverage,
                max_sentence_length=_MAX_LINE_BYTES,
                byte_fallback=True,
                normalization_rule_name="identity",
                remove_extra_whitespaces=False,
                pad_id=PAD_ID,
                bos_id=BOS_ID,
                eos_id=EOS_ID,
                unk_id=UNK_ID,
                num_threads=_TRAINER_THREADS,
                minloglevel=2,
            )
        except RuntimeError as error:
            if needed := _TOO_SMALL.search(str(error)):
                raise ValueError(
                    f"`vocab_size` must be at least {needed[1]} for this text's characters and the 256 bytes, but is "
                    f"{config.vocab_size} instead. Raise it, or lower `character_coverage`."
                ) from error
            raise
        return cls(model.getvalue(), config)

    def to_bytes(self) -> bytes:
        return self._processor.serialized_model_proto()

    def encode(self, lines: Sequence[str]) -> list[bytes]:
        return [self._words.encode(_escape(line)) for line in lines]

    def _segment(self, word: str) -> list[int]:
        # The model puts a space before each word itself, and so has two where the word is nothing between two spaces.
        ids: list[int] = self._processor.encode(word or " ", num_threads=1)
        return ids if word else ids[: len(ids) // 2]

    def sample(self, lines: Sequence[str], *, seed: int, strength: float) -> list[list[int]]:
        """Draw a segmentation of each line; the meaning of `strength` is in `Tokenizer.sample`."""
        generator = np.random.Generator(np.random.PCG64(seed % 2**64))
        return self._sampler([_escape(line) for line in lines], generator, strength)

    @cached_property
    def _sampler(self) -> BpeDropout | UnigramSampling:
        model = self._processor
        byte_ids = [model.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)]
        taken = {PAD_ID, BOS_ID, EOS_ID, UNK_ID, *byte_ids}
        ids = {model.id_to_piece(index): index for index in range(self.vocab_size) if index not in taken}
        if self._is_bpe:
            return BpeDropout(ids, byte_ids)
        return UnigramSampling(ids, byte_ids, [model.get_score(index) for index in range(self.vocab_size)])

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        return [_unescape(line) for line in self._processor.decode(rows, num_threads=1)] if rows else []

    def token(self, index: int) -> str:
        return _unescape(self._processor.id_to_piece(index))


def _drawn(lines: Iterable[str], most: int) -> Iterator[str]:
    """Draw at most so many lines, each as likely as any other, by reservoir sampling (Vitter, 1985).

    The trainer's own draw is another in each process.
    """
    rest = iter(lines)
    sample = list(islice(rest, most))
    generator = random.Random(0)
    for seen, line in enumerate(rest, start=most + 1):
        place = generator.randrange(seen)
        if place < most:
            sample[place] = line
    sample.reverse()
    while sample:  # each is let go as the trainer copies it
        yield sample.pop()


def _escape(line: str) -> str:
    if _ESCAPE in line or _SPACE in line:
        return line.replace(_ESCAPE, _ESCAPE + "0").replace(_SPACE, _ESCAPE + "1")
    return line


def _unescape(line: str) -> str:
    if _ESCAPE in line:
        return line.replace(_ESCAPE + "1", _SPACE).replace(_ESCAPE + "0", _ESCAPE)
    return line
