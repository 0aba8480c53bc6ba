"""sentencepiece tokenizers: BPE and unigram subwords, with byte fallback and sampling."""

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

from seqlab.base.bounds import MAX_COUNT, MAX_VOCAB_SIZE
from seqlab.base.config_class import dataclass
from seqlab.text.config import SETTINGS, TrainedTokenizerConfig
from seqlab.text.segmenter import Segmenter, WordCache
from seqlab.text.subword_regularization import BpeDropout, UnigramSampler
from seqlab.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID

_SPACE_SYMBOL = "▁"
"""Symbol for a space in pieces. In text, it is escaped as `_ESCAPE + "1"`, and `_ESCAPE` as `_ESCAPE + "0"`."""
_ESCAPE = "\x10"
_UNTRAINABLE = re.compile("[\t\0▅]")
_TOO_SMALL_MESSAGE = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")
_TRAINER_THREADS = 4  # fixed, as the floating-point sums of the unigram model depend on it
_MAX_TRAINING_LINE_BYTES = 2**24  # the trainer skips longer lines; its default is 4,192


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class SentencePieceConfig(TrainedTokenizerConfig):
    """Base class of the BPE and unigram configs of sentencepiece."""

    may_sample: ClassVar[bool] = True

    vocab_size: Annotated[int, Field(ge=261, le=MAX_VOCAB_SIZE)] = 8000
    """Number of ids, including 4 special ids and 256 bytes. It is smaller if the text supports fewer."""

    character_coverage: Annotated[float, Field(ge=0.98, le=1.0)] = 0.9995
    """Share of the text's characters that are in the vocabulary; the rest, the rarest ones, are encoded as bytes."""

    max_train_lines: Annotated[int, Field(gt=100, le=MAX_COUNT)] = 1_000_000
    """Maximum number of training lines, which are held in memory: a random sample of a longer text."""

    def sampler(self, ids: dict[str, int], byte_ids: list[int], scores: list[float]) -> "BpeDropout | UnigramSampler":
        """Return the function that samples segmentations.

        Args:
            ids: id of each piece.
            byte_ids: ids of the 256 bytes.
            scores: score of each id.
        """
        raise NotImplementedError

    @property
    def character_share(self) -> float:
        """Share of the text's characters that are tokens of the vocabulary."""
        return self.character_coverage

    def train(self, lines: Iterable[str]) -> "SentencePiece":
        """Train on lines; raise ValueError if `vocab_size` is too small for the characters."""
        return SentencePiece.train(self, lines)

    def restore(self, content: bytes) -> "SentencePiece":
        """Restore the model from `SentencePiece.to_bytes`."""
        return SentencePiece(content, self)


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class SentencePieceBpeConfig(SentencePieceConfig):
    """Byte-pair encoding (Sennrich et al., 2016) with byte fallback, with sentencepiece."""

    kind: Literal["sentencepiece_bpe"] = "sentencepiece_bpe"
    """Kind of tokenizer."""

    def sampler(self, ids: dict[str, int], byte_ids: list[int], scores: list[float]) -> BpeDropout:
        """Return the function that skips merges at random."""
        return BpeDropout(ids, byte_ids)


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class SentencePieceUnigramConfig(SentencePieceConfig):
    """Unigram language model over subwords (Kudo, 2018) with byte fallback, with sentencepiece."""

    kind: Literal["sentencepiece_unigram"] = "sentencepiece_unigram"
    """Kind of tokenizer."""

    max_train_lines: Annotated[int, Field(gt=100, le=MAX_COUNT)] = 500_000
    """Maximum number of training lines, about 2 kB of memory each; a longer text is sampled at random."""

    def sampler(self, ids: dict[str, int], byte_ids: list[int], scores: list[float]) -> UnigramSampler:
        """Return the function that draws segmentations by their probability."""
        return UnigramSampler(ids, byte_ids, scores)


class SentencePiece(Segmenter):
    """Lossless sentencepiece model: no normalization, and `▁` differs from a space."""

    can_sample: ClassVar[bool] = True

    def __init__(self, model: bytes, config: SentencePieceConfig) -> None:
        self._config = config
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self._words = WordCache(self._segment)
        self.vocab_size = self._processor.vocab_size()

    @classmethod
    def train(cls, config: SentencePieceConfig, lines: Iterable[str]) -> "SentencePiece":
        """Train on lines; raise ValueError if `vocab_size` is too small for the characters."""
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                # The trainer skips lines with these characters, so replace them. They are encoded as bytes.
                sentence_iterator=(
                    _UNTRAINABLE.sub(" ", _escape(line)) for line in _sample_lines(lines, config.max_train_lines)
                ),
                model_writer=model,
                model_type=config.kind.removeprefix("sentencepiece_"),
                vocab_size=config.vocab_size,
                hard_vocab_limit=False,
                character_coverage=config.character_coverage,
                max_sentence_length=_MAX_TRAINING_LINE_BYTES,
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
            if needed := _TOO_SMALL_MESSAGE.search(str(error)):
                raise ValueError(
                    f"`vocab_size` must be at least {needed[1]} for this text's characters and the 256 bytes, but is "
                    f"{config.vocab_size} instead. Increase it, or decrease `character_coverage`."
                ) from error
            raise
        return cls(model.getvalue(), config)

    def to_bytes(self) -> bytes:
        return self._processor.serialized_model_proto()

    def encode(self, lines: Sequence[str]) -> list[bytes]:
        return [self._words.encode(_escape(line)) for line in lines]

    def _segment(self, word: str) -> list[int]:
        # The model adds a space before each word. For the empty word between two spaces, encode a space: this gives two
        # spaces, of which one is kept.
        ids: list[int] = self._processor.encode(word or " ", num_threads=1)
        return ids if word else ids[: len(ids) // 2]

    def sample(self, lines: Sequence[str], *, seed: int, strength: float) -> list[list[int]]:
        """Sample a segmentation of each line; `Tokenizer.sample` describes `strength`."""
        generator = np.random.Generator(np.random.PCG64(seed % 2**64))
        return self._sampler([_escape(line) for line in lines], generator, strength)

    @cached_property
    def _sampler(self) -> BpeDropout | UnigramSampler:
        model = self._processor
        byte_ids = [model.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)]
        reserved = {PAD_ID, BOS_ID, EOS_ID, UNK_ID, *byte_ids}
        ids = {model.id_to_piece(index): index for index in range(self.vocab_size) if index not in reserved}
        return self._config.sampler(ids, byte_ids, [model.get_score(index) for index in range(self.vocab_size)])

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        return [_unescape(line) for line in self._processor.decode(rows, num_threads=1)] if rows else []

    def token(self, index: int) -> str:
        return _unescape(self._processor.id_to_piece(index))


def _sample_lines(lines: Iterable[str], max_lines: int) -> Iterator[str]:
    """Sample at most `max_lines` lines uniformly by reservoir sampling (Vitter, 1985).

    sentencepiece's sampling differs between processes.
    """
    remaining = iter(lines)
    sample = list(islice(remaining, max_lines))
    generator = random.Random(0)
    for seen, line in enumerate(remaining, start=max_lines + 1):
        position = generator.randrange(seen)
        if position < max_lines:
            sample[position] = line
    sample.reverse()
    while sample:  # free each line once the trainer has copied it
        yield sample.pop()


def _escape(line: str) -> str:
    """Escape the space symbol in text."""
    if _ESCAPE in line or _SPACE_SYMBOL in line:
        return line.replace(_ESCAPE, _ESCAPE + "0").replace(_SPACE_SYMBOL, _ESCAPE + "1")
    return line


def _unescape(line: str) -> str:
    """Undo `_escape`."""
    if _ESCAPE in line:
        return line.replace(_ESCAPE + "1", _SPACE_SYMBOL).replace(_ESCAPE + "0", _ESCAPE)
    return line
