"""Base classes of tokenizer configs; the tag `kind` selects the registered config class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import ConfigDict

from seqlab.base.config_class import dataclass
from seqlab.part import Part
from seqlab.text.normalization import NormalizationForm, normalize

if TYPE_CHECKING:
    from seqlab.text.segmenter import Segmenter
    from seqlab.text.tokenizer import Tokenizer

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Pydantic settings of the dataclasses of tokenizer configs."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TokenizerConfig(Part):
    """Base class of tokenizer configs."""

    part_kind: ClassVar[str] = "tokenizer"
    tag_field: ClassVar[str] = "kind"
    units: ClassVar[Literal["subwords", "characters", "words", ""]] = "subwords"
    """Unit of text that an id represents; empty if it is not known before the tokenizer is loaded."""
    may_sample: ClassVar[bool] = False
    """Whether the tokenizer can sample from several segmentations of a line; True if only loading it shows this."""
    may_have_unknown: ClassVar[bool] = False
    """Whether the tokenizer may encode text as `unk_id`."""
    if TYPE_CHECKING:  # a field of each subclass, which determines its order in files
        kind: str

    @property
    def requested_size(self) -> int | None:
        """Upper limit of the vocabulary size; None for no limit."""
        return None

    @property
    def may_be_word_level(self) -> bool:
        """Whether the tokenizer may be word-level, so that decoding joins ids with spaces."""
        return self.units in ("words", "")

    @property
    def has_tags(self) -> bool:
        """Whether lines can have tags after a tab."""
        return False

    @property
    def may_have_tags(self) -> bool:
        """Whether lines can have tags after a tab; True if only loading the tokenizer shows this."""
        return self.has_tags

    @property
    def may_split_words(self) -> bool:
        """Whether normalization can split one word into several."""
        return False

    @property
    def character_share(self) -> float:
        """Share of the text's characters that are tokens of a subword vocabulary; 0 for byte-level tokenizers."""
        return 0.0

    def load_existing(self) -> Tokenizer | None:
        """Load the tokenizer if the config refers to an existing one; None if it is to be trained."""
        return None

    def refuse_target_only(self) -> None:
        """Raise ValueError for a config that only `data.tokenizer_tgt` accepts."""

    def for_target(self, src: TokenizerConfig) -> TokenizerConfig:
        """Return the config of the target's tokenizer, given that of the source."""
        return self


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TrainedTokenizerConfig(TokenizerConfig):
    """Base class of the configs of tokenizers that are trained on text."""

    required_members: ClassVar[tuple[str, ...]] = ("train", "restore")

    normalization: NormalizationForm = "nfc"
    """Unicode normalization of the text: `nfc`, `nfkc` (also folds compatibility forms), `nfd` (splits letters and
    accents, and Hangul syllables into their letters), `nfc+nfd` (each character followed by its parts) or `none`."""

    @property
    def may_split_words(self) -> bool:
        """Whether normalization can split a word: `nfkc` turns a spacing accent into a space and a mark."""
        return self.normalization == "nfkc"

    @property
    def requested_size(self) -> int | None:
        """Upper limit of the vocabulary size, if the config has a field for it; None for no limit."""
        return getattr(self, "vocab_size", None)

    def normalize(self, line: str) -> str:
        """Normalize a line before it is segmented."""
        return normalize(line, self.normalization)

    def train(self, lines: Iterable[str]) -> Segmenter:
        """Train a segmenter on normalized lines, each with a visible character."""
        raise NotImplementedError

    def restore(self, content: bytes) -> Segmenter:
        """Restore the segmenter from the content of `Segmenter.to_bytes`."""
        raise NotImplementedError
