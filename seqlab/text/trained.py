"""Tokenizers made from a config and text, written to a folder and read back."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import TypeAdapter

from seqlab.base.atomic_io import write_bytes, write_json
from seqlab.base.parsing import MAX_DOCUMENT_BYTES, parse_json, read_regular, validate_type
from seqlab.registry import UnknownPart, find_part
from seqlab.text.config import LearntConfig, TokenizerConfig
from seqlab.text.normalization import compose
from seqlab.text.segmenter import Segmenter
from seqlab.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, SPECIAL_TOKENS, UNK_ID, FlatIds, Tokenizer
from seqlab.text.words import unpacked

DESCRIPTION = "tokenizer.json"
MODEL = "tokenizer.model"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class TrainedTokenizer:
    """A `Tokenizer` of any kind: what is the same for all of them, around the segmenter of one."""

    config: LearntConfig
    segmenter: Segmenter

    pad_id: ClassVar[int] = PAD_ID
    blank_id: ClassVar[int] = PAD_ID
    mask_id: ClassVar[int] = BOS_ID
    bos_id: ClassVar[int] = BOS_ID
    eos_id: ClassVar[int] = EOS_ID
    unk_id: ClassVar[int] = UNK_ID

    @property
    def vocab_size(self) -> int:
        return self.segmenter.vocab_size

    @property
    def num_labels(self) -> int:
        return self.vocab_size - len(SPECIAL_TOKENS)

    @property
    def can_sample(self) -> bool:
        return self.segmenter.can_sample

    @property
    def has_unknown(self) -> bool:
        return self.segmenter.has_unknown

    @property
    def has_words(self) -> bool:
        return self.segmenter.has_words

    @property
    def tag_ids(self) -> range:
        return range(self.vocab_size - self.segmenter.num_tags, self.vocab_size)

    def normalize(self, line: str) -> str:
        return compose(self.config.normalize(line), self.config.normalization)

    def items(self, line: str) -> list[str]:
        return self.segmenter.items(self.config.normalize(line))

    def unknown_items(self, line: str) -> list[str]:
        return self.segmenter.unknown_items(self.config.normalize(line)) if self.has_unknown else []

    def unknown_tags(self, line: str) -> list[str]:
        return self.segmenter.unknown_tags(self.config.normalize(line)) if self.tag_ids else []

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        return [unpacked(row) for row in self._rows(lines)]

    def encode_flat(self, lines: Sequence[str]) -> FlatIds:
        rows = self._rows(lines)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        ids = np.frombuffer(b"".join(rows), np.uint32)
        return FlatIds(ids, lengths // ids.itemsize)

    def _rows(self, lines: Sequence[str]) -> list[bytes]:
        return self.segmenter.encode([self.config.normalize(line) for line in lines])

    def sample(self, lines: Sequence[str], *, seed: int, strength: float) -> list[list[int]]:
        if not 0 <= strength < 1:
            raise ValueError(f"`strength` must be at least 0 and below 1, but is {strength} instead.")
        if strength == 0:
            return self.encode(lines)
        if not self.can_sample:
            raise ValueError(
                f"A tokenizer of kind `{self.config.kind}` segments each line in one way: `strength` must be 0, but is "
                f"{strength} instead. The kinds that sample are `sentencepiece_bpe` and `sentencepiece_unigram`."
            )
        return self.segmenter.sample([self.config.normalize(line) for line in lines], seed=seed, strength=strength)

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        first = UNK_ID if self.segmenter.has_unknown else UNK_ID + 1
        for i, row in enumerate(rows):
            self._check(row, 0 if unknown is None else len(unknown[i]))
        kept = [[int(index) for index in row if index >= first] for row in rows]
        return [compose(line, self.config.normalization) for line in self.segmenter.decode(kept, unknown)]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        self._check(ids)
        return [
            SPECIAL_TOKENS[index] if index < len(SPECIAL_TOKENS) else _printable(self.segmenter.token(int(index)))
            for index in ids
        ]

    def save(self, folder: str | Path) -> None:
        folder = Path(folder)
        content = self.segmenter.to_bytes()
        description = {
            "format_version": FORMAT_VERSION,
            "config": TypeAdapter(type(self.config)).dump_python(self.config, mode="json"),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / MODEL, content)
        write_json(folder / DESCRIPTION, description)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as what `save` writes."""
        return _rebuild, (self.config, self.segmenter.to_bytes())

    def _check(self, ids: Sequence[int], more: int = 0) -> None:
        for bound in (min(ids, default=0), max(ids, default=0)):
            if not 0 <= bound < self.vocab_size + more:
                raise ValueError(f"Token ids must be from 0 to {self.vocab_size - 1}, but one is {bound} instead.")


def train_tokenizer(config: TokenizerConfig, lines: Iterable[str]) -> Tokenizer:
    """Learn a tokenizer from lines, read once.

    The same config and lines give the same tokenizer, byte for byte when saved. Of the text, sentencepiece holds
    `max_train_lines` lines in memory and the other kinds only the distinct items with their counts.

    `vocab_size` is an upper limit: a text that supports fewer ids gets fewer. Raises ValueError for a text without a
    visible character, and where `vocab_size` has no room for the text's characters. Of a config whose tokenizer exists
    already nothing is learnt, and no line is read.
    """
    existing = config.existing()
    if existing is not None:
        return existing
    assert isinstance(config, LearntConfig), "what does not exist is learnt"
    visible = (line for line in map(config.normalize, lines) if line and not line.isspace())
    first = next(visible, None)
    if first is None:
        raise ValueError("The text to train a tokenizer from is empty: it has no line with a visible character.")
    tokenizer = TrainedTokenizer(config, config.learn(chain([first], visible)))
    _check_ids(tokenizer, first)
    return tokenizer


def _check_ids(tokenizer: TrainedTokenizer, line: str) -> None:
    """Raise ValueError where a segmenter, perhaps of a plugin, gives the ids of a line that mean something else."""
    lowest = UNK_ID if tokenizer.has_unknown else len(SPECIAL_TOKENS)
    [ids] = tokenizer.encode([line])
    for index in ids:
        if not lowest <= index < tokenizer.vocab_size:
            raise ValueError(
                f"The ids of a `{tokenizer.config.kind}` tokenizer must be from {lowest} to {tokenizer.vocab_size - 1} "
                f"(0 to 3 are special), but {line[:40]!r} has {index}."
            )


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Read a tokenizer that `save` wrote; raise ValueError, naming the file, where one is missing or damaged."""
    folder = Path(folder)
    path = folder / DESCRIPTION
    description, kind = _read_description(folder)
    try:
        config = validate_type(description.config, find_part("tokenizer", kind))
    except UnknownPart as error:
        raise ValueError(f"{path}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    model_path = folder / MODEL
    content = _read(model_path)
    if hashlib.sha256(content).hexdigest() != description.sha256:
        raise ValueError(f"{model_path} is damaged: its SHA-256 is not the one in {path}.")
    try:
        return _rebuild(config, content)
    except Exception as error:  # whatever the library behind this kind raises, which may have no type of its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{model_path} is damaged ({reason}).") from error


def tokenizer_kind(folder: str | Path) -> str:
    """Read the kind of a tokenizer that `save` wrote; errors as `load_tokenizer`."""
    return _read_description(Path(folder))[1]


@dataclass(frozen=True)
class _Description:
    """What tokenizer.json holds."""

    format_version: int
    config: dict[str, Any]
    sha256: str


def _read_description(folder: Path) -> tuple[_Description, str]:
    """Read the description, and the kind in its config."""
    path = folder / DESCRIPTION
    try:
        description = validate_type(parse_json(_read(path, MAX_DOCUMENT_BYTES)), _Description)
        kind = validate_type(description.config.get("kind"), str)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if description.format_version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {description.format_version}, but this version of seqlab reads "
            f"{FORMAT_VERSION} only."
        )
    return description, kind


def _rebuild(config: LearntConfig, content: bytes) -> TrainedTokenizer:
    return TrainedTokenizer(config, config.restore(content))


def tokenizer_sha256(folder: str | Path) -> str:
    """Tell tokenizers in folders apart, their configs included; raises ValueError where there is none."""
    folder = Path(folder)
    return hashlib.sha256(_read(folder / MODEL) + _read(folder / DESCRIPTION)).hexdigest()


def _read(path: Path, limit: int | None = None) -> bytes:
    try:
        return read_regular(path, limit)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{path} is missing: {path.parent} is not the folder of a tokenizer.") from error


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text.replace(" ", "▁")
    )
