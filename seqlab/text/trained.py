"""Training, writing and loading of tokenizers, and configs that refer to an existing tokenizer."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import TypeAdapter

from seqlab.base.atomic_io import write_bytes, write_json
from seqlab.base.config_class import dataclass as config_class
from seqlab.base.parsing import MAX_DOCUMENT_BYTES, parse_json, read_regular, validate_type
from seqlab.registry import UnknownPart, find_part
from seqlab.text.config import SETTINGS, TokenizerConfig, TrainedTokenizerConfig
from seqlab.text.normalization import recompose, single_spaces
from seqlab.text.segmenter import Segmenter, unpack_ids
from seqlab.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, SPECIAL_TOKENS, UNK_ID, FlatIds, Tokenizer
from seqlab.text.transcripts import TranscriptForm, normalize_transcript

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_MODEL_FILE = "tokenizer.model"
TOKENIZER_FORMAT_VERSION = 1


@dataclass(frozen=True)
class TrainedTokenizer:
    """Tokenizer of any kind: normalization, special ids and saving, around a segmenter."""

    config: TrainedTokenizerConfig
    segmenter: Segmenter
    has_single_spaces: bool = False
    """Not saved: it depends on the use of the tokenizer, for a source or a target."""
    transcript_form: TranscriptForm | None = None
    """Not saved: it depends on the use of the tokenizer; see `with_transcripts`."""

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

    def with_single_spaces(self) -> "TrainedTokenizer":
        return replace(self, has_single_spaces=True)

    def with_transcripts(self, form: TranscriptForm | None) -> "TrainedTokenizer":
        return replace(self, transcript_form=form)

    def normalize(self, line: str) -> str:
        return recompose(self._normalize(line), self.config.normalization)

    def _normalize(self, line: str) -> str:
        """Normalize a line for the segmenter."""
        if self.has_single_spaces:
            line = single_spaces(line, has_tags=self.config.has_tags)
        if self.transcript_form is not None:
            line = normalize_transcript(line, self.transcript_form)
        return self.config.normalize(line)

    def items(self, line: str) -> list[str]:
        return self.segmenter.items(self._normalize(line))

    def unknown_items(self, line: str) -> list[str]:
        return self.segmenter.unknown_items(self._normalize(line)) if self.has_unknown else []

    def unknown_tags(self, line: str) -> list[str]:
        return self.segmenter.unknown_tags(self._normalize(line)) if self.tag_ids else []

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        return [unpack_ids(row) for row in self._rows(lines)]

    def encode_flat(self, lines: Sequence[str]) -> FlatIds:
        rows = self._rows(lines)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        ids = np.frombuffer(b"".join(rows), np.uint32)
        return FlatIds(ids, lengths // ids.itemsize)

    def _rows(self, lines: Sequence[str]) -> list[bytes]:
        return self.segmenter.encode([self._normalize(line) for line in lines])

    def sample(self, lines: Sequence[str], *, seed: int, strength: float) -> list[list[int]]:
        if not 0 <= strength < 1:
            raise ValueError(f"`strength` must be at least 0 and below 1, but is {strength} instead.")
        if strength == 0:
            return self.encode(lines)
        if not self.can_sample:
            raise ValueError(
                f"A tokenizer of kind `{self.config.kind}` cannot sample segmentations: `strength` must be 0, but is "
                f"{strength} instead. The kinds that can sample are `sentencepiece_bpe` and `sentencepiece_unigram`."
            )
        return self.segmenter.sample([self._normalize(line) for line in lines], seed=seed, strength=strength)

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        lowest = UNK_ID if self.segmenter.has_unknown else UNK_ID + 1
        for i, row in enumerate(rows):
            self._check_range(row, 0 if unknown is None else len(unknown[i]))
        kept = [[int(index) for index in row if index >= lowest] for row in rows]
        return [recompose(line, self.config.normalization) for line in self.segmenter.decode(kept, unknown)]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        self._check_range(ids)
        return [
            SPECIAL_TOKENS[index] if index < len(SPECIAL_TOKENS) else _printable(self.segmenter.token(int(index)))
            for index in ids
        ]

    def save(self, folder: str | Path) -> None:
        folder = Path(folder)
        content = self.segmenter.to_bytes()
        description = {
            "format_version": TOKENIZER_FORMAT_VERSION,
            "config": TypeAdapter(type(self.config)).dump_python(self.config, mode="json"),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / TOKENIZER_MODEL_FILE, content)
        write_json(folder / TOKENIZER_FILE, description)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the config and the serialized segmenter, as `save` writes them."""
        arguments = (self.config, self.segmenter.to_bytes())
        use = (self.has_single_spaces, self.transcript_form)
        return _rebuild, (*arguments, *use) if any(use) else arguments

    def _check_range(self, ids: Sequence[int], num_unknown: int = 0) -> None:
        """Raise ValueError for an id that is neither in the vocabulary nor one of the `num_unknown` ids after it."""
        for bound in (min(ids, default=0), max(ids, default=0)):
            if not 0 <= bound < self.vocab_size + num_unknown:
                raise ValueError(f"Token ids must be from 0 to {self.vocab_size - 1}, but one is {bound} instead.")


def train_tokenizer(config: TokenizerConfig, lines: Iterable[str]) -> Tokenizer:
    """Train a tokenizer on lines, which are read once; or load the existing tokenizer that the config refers to.

    The same config and lines give the same tokenizer, with identical saved files. sentencepiece holds `max_train_lines`
    lines in memory; the other kinds hold only the distinct items with their counts. `vocab_size` is an upper limit: the
    vocabulary is smaller if the text supports fewer ids.

    Raises:
        ValueError: the text has no visible character, or `vocab_size` is too small for its characters.
    """
    existing = config.load_existing()
    if existing is not None:
        return existing
    assert isinstance(config, TrainedTokenizerConfig), "all other configs refer to an existing tokenizer"
    visible = (line for line in map(config.normalize, lines) if line and not line.isspace())
    first = next(visible, None)
    if first is None:
        raise ValueError("The text to train a tokenizer on is empty: it has no line with a visible character.")
    tokenizer = TrainedTokenizer(config, config.train(chain([first], visible)))
    _check_ids(tokenizer, first)
    return tokenizer


def _check_ids(tokenizer: TrainedTokenizer, line: str) -> None:
    """Raise ValueError if a segmenter, such as that of a plugin, returns special or nonexistent ids for a line."""
    lowest = UNK_ID if tokenizer.has_unknown else len(SPECIAL_TOKENS)
    [ids] = tokenizer.encode([line])
    for index in ids:
        if not lowest <= index < tokenizer.vocab_size:
            raise ValueError(
                f"The ids of a `{tokenizer.config.kind}` tokenizer must be from {lowest} to {tokenizer.vocab_size - 1} "
                f"(0 to 3 are special), but {line[:40]!r} has {index}."
            )


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load the tokenizer that `save` wrote into a folder; raise ValueError for a missing or damaged file."""
    folder = Path(folder)
    path = folder / TOKENIZER_FILE
    description, kind = _read_description(folder)
    try:
        config = validate_type(description.config, find_part("tokenizer", kind))
    except UnknownPart as error:
        raise ValueError(f"{path}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    model_path = folder / TOKENIZER_MODEL_FILE
    content = _read_tokenizer_file(model_path)
    if hashlib.sha256(content).hexdigest() != description.sha256:
        raise ValueError(f"{model_path} is damaged: its SHA-256 is not the one in {path}.")
    try:
        return _rebuild(config, content)
    except Exception as error:  # tokenizer libraries raise errors of any type
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{model_path} is damaged ({reason}).") from error


def tokenizer_kind(folder: str | Path) -> str:
    """Read the kind of a saved tokenizer; errors as in `load_tokenizer`."""
    return _read_description(Path(folder))[1]


@dataclass(frozen=True)
class _TokenizerDescription:
    """Content of tokenizer.json."""

    format_version: int
    config: dict[str, Any]
    sha256: str


def _read_description(folder: Path) -> tuple[_TokenizerDescription, str]:
    """Read tokenizer.json, and return it with the kind of the tokenizer."""
    path = folder / TOKENIZER_FILE
    try:
        description = validate_type(parse_json(_read_tokenizer_file(path, MAX_DOCUMENT_BYTES)), _TokenizerDescription)
        kind = validate_type(description.config.get("kind"), str)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if description.format_version != TOKENIZER_FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {description.format_version}, but this version of seqlab reads "
            f"{TOKENIZER_FORMAT_VERSION} only."
        )
    return description, kind


def _rebuild(config: TrainedTokenizerConfig, content: bytes, *use: Any) -> TrainedTokenizer:
    """Restore a tokenizer from its config, its serialized segmenter, and the fields that are not saved."""
    return TrainedTokenizer(config, config.restore(content), *use)


def tokenizer_sha256(folder: str | Path) -> str:
    """Return a hash of the files of a saved tokenizer; raise ValueError if the folder contains none."""
    folder = Path(folder)
    return hashlib.sha256(
        _read_tokenizer_file(folder / TOKENIZER_MODEL_FILE) + _read_tokenizer_file(folder / TOKENIZER_FILE)
    ).hexdigest()


def _read_tokenizer_file(path: Path, limit: int | None = None) -> bytes:
    try:
        return read_regular(path, limit)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{path} is missing: {path.parent} is not the folder of a tokenizer.") from error


def _printable(text: str) -> str:
    """Replace spaces by `▁`, and escape unprintable characters."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text.replace(" ", "▁")
    )


@config_class(frozen=True, config=SETTINGS, kw_only=True)
class SavedConfig(TokenizerConfig):
    """An existing tokenizer, for models that must share a vocabulary: ensembles and shallow fusion."""

    kind: Literal["saved"] = "saved"
    """Kind of tokenizer."""

    units: ClassVar[Literal[""]] = ""
    may_sample: ClassVar[bool] = True
    may_have_unknown: ClassVar[bool] = True
    folder: str = "tokenizer"
    """Folder of the tokenizer; in a run folder, it is `tokenizer`, or `src_tokenizer` and `tgt_tokenizer`."""

    @property
    def may_have_tags(self) -> bool:
        """Whether lines can have tags after a tab; True, as only loading the tokenizer shows this."""
        return True

    def load_existing(self) -> Tokenizer:
        """Load the tokenizer; raise ValueError if its folder contains none."""
        return load_tokenizer(Path(self.folder))


@config_class(frozen=True, config=SETTINGS, kw_only=True)
class SameConfig(TokenizerConfig):
    """The config of the source's tokenizer; for targets only."""

    kind: Literal["same"] = "same"
    """Kind of tokenizer."""

    def refuse_target_only(self) -> None:
        """Raise ValueError: this config is valid for a target only."""
        raise ValueError("A `tokenizer` of kind `same` copies that of the source, so only a target can have it.")

    def load_existing(self) -> Tokenizer | None:
        """Raise ValueError: without a source, this config describes no tokenizer."""
        self.refuse_target_only()
        return None

    def for_target(self, src: TokenizerConfig) -> TokenizerConfig:
        """Return the config of the source."""
        return src
