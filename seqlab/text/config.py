"""The settings of each kind of tokenizer, and their union by the tag `kind`."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from seqlab.text.normalization import NormalizationForm

_SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, config=_SETTINGS, kw_only=True)
class _SharedConfig:
    normalization: NormalizationForm = "nfc"
    """Unicode form that text is brought into: `nfc`, `nfkc` (also folds compatibility forms), `nfd` (accents are
    characters of their own, and so are the letters of a Hangul syllable), `nfc+nfd` (the whole and, behind it, its
    parts) or `none`."""


@dataclass(frozen=True, config=_SETTINGS, kw_only=True)
class _SentencePieceConfig(_SharedConfig):
    vocab_size: Annotated[int, Field(ge=261)] = 8000
    """Number of ids, 4 special ones and 256 bytes counted. A text that supports fewer gets fewer."""

    character_coverage: Annotated[float, Field(ge=0.98, le=1.0)] = 0.9995
    """Share of the text's characters that get ids of their own; the rest, the rarest, are spelt in bytes."""

    max_train_lines: Annotated[int, Field(gt=100)] = 1_000_000
    """Lines held in memory to learn from: of a longer text, a random sample of this many."""


@dataclass(frozen=True, config=_SETTINGS, kw_only=True)
class SentencePieceBpeConfig(_SentencePieceConfig):
    """Byte-pair encoding (Sennrich et al., 2016) with byte fallback, by sentencepiece."""

    kind: Literal["sentencepiece_bpe"] = "sentencepiece_bpe"
    """Which tokenizer this is."""


@dataclass(frozen=True, config=_SETTINGS, kw_only=True)
class SentencePieceUnigramConfig(_SentencePieceConfig):
    """A unigram language model over subwords (Kudo, 2018) with byte fallback, by sentencepiece."""

    kind: Literal["sentencepiece_unigram"] = "sentencepiece_unigram"
    """Which tokenizer this is."""

    max_train_lines: Annotated[int, Field(gt=100)] = 500_000
    """Lines held in memory to learn from, 2 kB each: of a longer text, a random sample of this many."""


@dataclass(frozen=True, config=_SETTINGS, kw_only=True)
class BpeConfig(_SharedConfig):
    """Byte-pair encoding over bytes (Radford et al., 2019), by Hugging Face `tokenizers`; it cannot sample."""

    kind: Literal["bpe"] = "bpe"
    """Which tokenizer this is."""

    vocab_size: Annotated[int, Field(ge=260)] = 8000
    """Number of ids, 4 special ones and 256 bytes counted. A text that supports fewer gets fewer."""

    min_count: Annotated[int, Field(ge=1)] = 2
    """Occurrences that a pair needs to be merged."""


@dataclass(frozen=True, config=_SETTINGS, kw_only=True)
class _VocabularyConfig(_SharedConfig):
    vocab_size: Annotated[int, Field(ge=5)] | None = None
    """Most ids to keep, 4 special ones counted: the most frequent stay. None for no limit."""

    min_count: Annotated[int, Field(ge=1)] = 1
    """Occurrences below which an item becomes `unk_id`."""

    tags: bool = False
    """Whether a line may have tags behind a tab, with `;`, tabs or spaces between, as in `walk<tab>V;PST`. Each is
    one id, which no other text has, and all tags of the text get one; they come behind the ids of the line itself."""


@dataclass(frozen=True, config=_SETTINGS, kw_only=True)
class CharactersConfig(_VocabularyConfig):
    """One id for each Unicode code point."""

    kind: Literal["characters"] = "characters"
    """Which tokenizer this is."""


@dataclass(frozen=True, config=_SETTINGS, kw_only=True)
class WordsConfig(_VocabularyConfig):
    """One id for each run of characters between whitespace."""

    kind: Literal["words"] = "words"
    """Which tokenizer this is."""


@dataclass(frozen=True, config=_SETTINGS, kw_only=True)
class SavedConfig:
    """A tokenizer that exists already, so that models share a vocabulary: in ensembles, and in shallow fusion."""

    kind: Literal["saved"] = "saved"
    """Which tokenizer this is."""

    vocab_size: ClassVar[None] = None

    folder: str = "tokenizer"
    """Where it lies: in a run's folder `tokenizer`, or `src_tokenizer` and `tgt_tokenizer`."""


TokenizerConfig = Annotated[
    SentencePieceBpeConfig | SentencePieceUnigramConfig | BpeConfig | CharactersConfig | WordsConfig | SavedConfig,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, config=_SETTINGS, kw_only=True)
class SameConfig:
    """The settings of the source's tokenizer."""

    kind: Literal["same"] = "same"
    """Which tokenizer this is."""


TargetTokenizerConfig = Annotated[
    SameConfig
    | SentencePieceBpeConfig
    | SentencePieceUnigramConfig
    | BpeConfig
    | CharactersConfig
    | WordsConfig
    | SavedConfig,
    Field(discriminator="kind"),
]
LearntConfig = SentencePieceBpeConfig | SentencePieceUnigramConfig | BpeConfig | CharactersConfig | WordsConfig
