"""Base class of `data` sections of parallel corpora."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from seqlab.base.bounds import Count, CountOrZero
from seqlab.base.config_class import dataclass
from seqlab.data.config import SETTINGS, PathSpecs, TokensConfig
from seqlab.registry import BUILT_IN_OWNER, default_part, list_entries
from seqlab.text import Tokenizer, TokenizerConfig

if TYPE_CHECKING:
    from seqlab.data.corpus import Corpus
    from seqlab.data.held_out import HeldOut
    from seqlab.data.row_encoder import RowEncoder
    from seqlab.data.survey import Survey


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class PairsConfig(TokensConfig):
    """Base class of sections with source and target corpora, aligned line by line."""

    path_fields: ClassVar[tuple[str, ...]] = (
        *("train_src", "train_tgt", "test_src", "test_tgt", "valid_src", "valid_tgt"),
    )
    split_fields: ClassVar[tuple[str, ...]] = ("valid_fraction", "valid_max_pairs", "valid_fold")
    encoding_fields: ClassVar[tuple[str, ...]] = ("max_length", "max_length_ratio", "copy_unknown", "src_spaces")

    train_src: Annotated[PathSpecs, Field(min_length=1)]
    """Source sides of the training corpora: `file` (text, also packed), `file#column` (.tsv, .jsonl, .csv, .json,
    .parquet, .arrow, .conllu), or a column of a dataset that `datasets` loads by its name on the Hugging Face hub or by
    the path of a folder, `hub:NAME[@REVISION][:CONFIG]:SPLIT#COLUMN`. Several corpora are a list."""

    train_tgt: Annotated[PathSpecs, Field(min_length=1)]
    """Target sides of the training corpora, in the same order: translations, or labels."""

    train_weights: list[Annotated[float, Field(ge=1e-6, le=10_000)]] = Field(default_factory=list)
    """Number of times that each pair of a corpus is used per epoch: with 2.5, twice, and a third time for a random half
    that differs in every epoch. One number per corpus; default: 1 for all."""

    valid_src: str | None = None
    """Source side of the validation set; by default, pairs are held out of the training corpora."""

    valid_tgt: PathSpecs = Field(default_factory=list)
    """Target side of the validation set. Several files are several references of the same sources: the loss uses the
    first, the metrics of decoded output use all. An empty line in an additional file means that the source has no such
    reference."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the distinct training sources that is held out for validation if no validation set is given."""

    valid_fold: Count | None = None
    """Number of the validation fold, from 1. With a `valid_fraction` of 0.1, ten runs with the folds 1 to 10 are a
    cross-validation: each source is in the validation set of one run."""

    valid_max_pairs: Count = 1000
    """Maximum number of pairs held out for validation, unless `valid_fold` is given."""

    test_src: PathSpecs = Field(default_factory=list)
    """Source sides of test sets. They are neither trained on nor decoded: the data report counts how many of their
    lines occur in the training corpora."""

    test_tgt: PathSpecs = Field(default_factory=list)
    """Target sides of the test sets, in the same order."""

    vectors_src: str | None = None
    """File of word vectors that initialize the source embeddings, in the format of word2vec or GloVe, text or binary,
    plain or .gz. They are scaled to the size of the random initialization, which tokens without a vector keep."""

    tokenizer: TokenizerConfig = Field(default_factory=lambda: default_part("tokenizer")())
    """Tokenizer, which converts text to ids."""

    src_spaces: Literal["single", "keep"] = "single"
    """White space of sources. `single`: a run of spaces, tabs, no-break and other Unicode spaces is read as one space;
    spaces at the ends of a line are left out, and so are characters that show nothing: zero-width spaces, soft hyphens,
    directional marks, control characters. `keep`: all are read as they are. Those of targets are always kept."""

    max_length: Count = 256
    """Maximum tokens of each side, without eos; longer pairs are dropped."""

    chunk_pairs: Count = 131_072
    """Number of pairs that are shuffled, sorted by length and divided into steps together. Memory grows with it."""

    prefetch_steps: CountOrZero = 8
    """Number of steps prepared ahead in a background thread; 0 prepares each step on demand."""

    def valid_metrics(self) -> list[str]:
        """Return the validation metrics that can select the best checkpoint, including registered metrics."""
        return [
            *super().valid_metrics(),
            *(entry.name for entry in list_entries("metric") if entry.owner != BUILT_IN_OWNER),
        ]

    @property
    def has_single_spaces(self) -> bool:
        """Whether runs of white space in sources are read as one space."""
        return self.src_spaces == "single"

    @property
    def reads_tabs(self) -> bool:
        """Whether a tab in a source has a meaning: labels may be those of two texts."""
        return True

    @property
    def joint_vocabulary(self) -> bool:
        """Whether source and target share one tokenizer."""
        return False

    @property
    def subword_sampling(self) -> float:
        """Strength of subword sampling in training; 0 is off."""
        return 0.0

    @property
    def max_length_ratio(self) -> float:
        """Maximum factor between the length ratio of a pair, in characters, and that of its corpus."""
        return math.inf

    @property
    def needs_text(self) -> bool:
        """Whether training needs the raw text besides its ids."""
        return True

    def corpora(self, split: str) -> list[Corpus]:
        """Return the corpora of a split."""
        from seqlab.data.corpus import Corpus

        valid = [] if self.valid_src is None else [(self.valid_src, tgt) for tgt in self.valid_tgt]
        specs = {
            "train": list(zip(self.train_src, self.train_tgt, strict=True)),
            "valid": valid[:1],
            "references": valid[1:],
            "test": list(zip(self.test_src, self.test_tgt, strict=True)),
        }
        corpora = (Corpus.from_specs(*spec, limit=self.line_limit) for spec in specs[split])
        return [replace(corpus, reads_tabs=self.reads_tabs) for corpus in corpora]

    def hold_out(self, train: Sequence[Survey]) -> HeldOut:
        """Choose the sources held out for validation."""
        from seqlab.data.held_out import HeldOutSources

        advice = "`data.valid_src` and `data.valid_tgt`"
        return HeldOutSources.choose(train, self.valid_fraction, self.valid_max_pairs, self.valid_fold, advice=advice)

    def encoder(self, tokenizers: Sequence[Tokenizer]) -> RowEncoder:
        """Return the encoder of blocks of pairs."""
        from seqlab.data.row_encoder import PairEncoder

        limits = self.max_length, self.max_length_ratio
        return PairEncoder(tokenizers, *limits, self.copy_unknown, self.has_single_spaces)

    def requested_sizes(self) -> dict[str, int | None]:
        """Return the configured size of each vocabulary, by the folder of its tokenizer; None for no limit."""
        return {
            name: tokenizer.requested_size
            for name, tokenizer in zip(self.tokenizer_folders, self.tokenizers, strict=False)
        }

    @model_validator(mode="after")
    def _check_corpora(self) -> Self:
        for split in ("train", "test"):
            src, tgt = getattr(self, f"{split}_src"), getattr(self, f"{split}_tgt")
            if len(src) != len(tgt):
                raise ValueError(
                    f"`{split}_src` and `{split}_tgt` need one file each per corpus, but have {len(src)} and "
                    f"{len(tgt)}."
                )
        if set(self.train_weights) <= {1.0}:  # the default, possibly for a different number of corpora
            object.__setattr__(self, "train_weights", [1.0] * len(self.train_src))  # the config is frozen
        if len(self.train_weights) != len(self.train_src):
            raise ValueError(
                f"`train_weights` needs one number per corpus ({len(self.train_src)}), but has "
                f"{len(self.train_weights)}."
            )
        if (self.valid_src is None) != (not self.valid_tgt):
            present, missing = ("tgt", "src") if self.valid_src is None else ("src", "tgt")
            raise ValueError(f"`valid_{present}` is set, so `valid_{missing}` must be set too.")
        return self

    def for_fold(self, number: int, num_folds: int) -> Self:
        """Return a copy that validates on one fold of the training data, numbered from 1."""
        if self.valid_src is not None:
            raise ValueError("Folds are parts of the training corpora: remove `data.valid_src` and `data.valid_tgt`.")
        return replace(self, valid_fraction=1 / num_folds, valid_fold=number)

    @model_validator(mode="after")
    def _check_fold(self) -> Self:
        if self.valid_fold is None:
            return self
        if self.valid_src is not None:
            raise ValueError("`valid_fold` holds out a validation set, but `valid_src` names one: remove one of them.")
        if self.valid_fold > math.floor(1 / self.valid_fraction + 1e-9):
            raise ValueError(
                f"`valid_fold` ({self.valid_fold}) must be one of the folds of size `valid_fraction` "
                f"({self.valid_fraction}): at most {math.floor(1 / self.valid_fraction + 1e-9)}."
            )
        return self
