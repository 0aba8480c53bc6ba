"""Settings of tokenizers that learn nothing: one that is saved already, and one like the source's."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from seqlab.text.config import SETTINGS, TokenizerConfig
from seqlab.text.tokenizer import Tokenizer
from seqlab.text.trained import load_tokenizer


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class SavedConfig(TokenizerConfig):
    """A tokenizer that exists already, so that models share a vocabulary: in ensembles, and in shallow fusion."""

    kind: Literal["saved"] = "saved"
    """Which tokenizer this is."""

    units: ClassVar[Literal[""]] = ""
    may_sample: ClassVar[bool] = True
    may_have_unknown: ClassVar[bool] = True
    folder: str = "tokenizer"
    """Folder of the tokenizer: in a run's folder `tokenizer`, or `src_tokenizer` and `tgt_tokenizer`."""

    @property
    def may_have_tags(self) -> bool:
        """Whether lines may have tags after a tab."""
        return True

    def existing(self) -> Tokenizer:
        """Load the tokenizer; raises ValueError where its folder holds none."""
        return load_tokenizer(Path(self.folder))


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class SameConfig(TokenizerConfig):
    """The settings of the source's tokenizer; for a target alone."""

    kind: Literal["same"] = "same"
    """Which tokenizer this is."""

    def check_alone(self) -> None:
        """Raise ValueError."""
        raise ValueError("A `tokenizer` of kind `same` is like that of the source, so it can be that of a target only.")

    def existing(self) -> Tokenizer | None:
        """Raise ValueError: by itself it is no tokenizer."""
        self.check_alone()
        return None

    def of_target(self, src: TokenizerConfig) -> TokenizerConfig:
        """Return the settings of the source."""
        return src
