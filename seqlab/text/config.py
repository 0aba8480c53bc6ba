"""The base of the settings of each tokenizer: a registered part, chosen by the tag `kind`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from seqlab.part import Part
from seqlab.text.normalization import NormalizationForm, normalize

if TYPE_CHECKING:
    from seqlab.text.segmenter import Segmenter
    from seqlab.text.tokenizer import Tokenizer

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Of the dataclasses that are settings of tokenizers."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TokenizerConfig(Part):
    """The base of the settings of each tokenizer."""

    part_kind: ClassVar[str] = "tokenizer"
    tag_field: ClassVar[str] = "kind"
    units: ClassVar[Literal["subwords", "characters", "words", ""]] = "subwords"
    """What an id is; empty if unknown until it is loaded."""
    may_sample: ClassVar[bool] = False
    """Whether the tokenizer draws among several segmentations of a line, or may."""
    may_have_unknown: ClassVar[bool] = False
    """Whether there may be text that the tokenizer has no ids for."""
    if TYPE_CHECKING:  # fields, whose order in files each kind chooses
        kind: str

    @property
    def wanted_size(self) -> int | None:
        """The number of ids that there should be; None for no limit."""
        return None

    @property
    def may_have_words(self) -> bool:
        """Whether each id may be a word, with spaces alone between words."""
        return self.units in ("words", "")

    @property
    def has_tags(self) -> bool:
        """Whether lines have tags after a tab."""
        return False

    @property
    def may_have_tags(self) -> bool:
        """Whether lines may have tags after a tab."""
        return self.has_tags

    @property
    def divides_words(self) -> bool:
        """Whether normalisation may make several words of one."""
        return False

    @property
    def character_share(self) -> float:
        """Share of the text's characters that get ids besides those of subwords; 0 for bytes alone."""
        return 0.0

    def existing(self) -> Tokenizer | None:
        """Load the tokenizer where it exists already; None where it is learnt."""
        return None

    def check_alone(self) -> None:
        """Raise ValueError where the settings are those of a target alone."""

    def of_target(self, src: TokenizerConfig) -> TokenizerConfig:
        """Return the settings of a target whose source has the settings `src`."""
        return self


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class LearntConfig(TokenizerConfig):
    """The base of the settings of tokenizers that learn from text."""

    required_members: ClassVar[tuple[str, ...]] = ("learn", "restore")

    normalization: NormalizationForm = "nfc"
    """Unicode form that text is brought into: `nfc`, `nfkc` (also folds compatibility forms), `nfd` (accents are
    characters of their own, and so are the letters of a Hangul syllable), `nfc+nfd` (the whole and, after it, its
    parts) or `none`."""

    @property
    def divides_words(self) -> bool:
        """Whether normalisation may make several words of one, as `nfkc` makes a space and a mark of an accent."""
        return self.normalization == "nfkc"

    @property
    def wanted_size(self) -> int | None:
        """The number of ids that there should be, where there is a field for it; None for no limit."""
        return getattr(self, "vocab_size", None)

    def normalize(self, line: str) -> str:
        """Bring a line into the form that is segmented."""
        return normalize(line, self.normalization)

    def learn(self, lines: Iterable[str]) -> Segmenter:
        """Learn a segmenter from normalised lines, each with a visible character."""
        raise NotImplementedError

    def restore(self, content: bytes) -> Segmenter:
        """Restore the segmenter that `Segmenter.to_bytes` gave."""
        raise NotImplementedError
