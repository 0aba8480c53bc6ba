"""The base of `data` sections of corpora with two sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import Count, CountOrZero
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
    """Corpora of two sides, line by line: what all kinds of them have in common."""

    path_fields: ClassVar[tuple[str, ...]] = (
        *("train_src", "train_tgt", "test_src", "test_tgt", "valid_src", "valid_tgt"),
    )
    split_fields: ClassVar[tuple[str, ...]] = ("valid_fraction", "valid_max_pairs", "valid_fold")
    encoding_fields: ClassVar[tuple[str, ...]] = ("max_length", "max_length_ratio", "copy_unknown")

    train_src: Annotated[PathSpecs, Field(min_length=1)]
    """Source sides of the training corpora: `file` (text, plain or .gz), `file#column` (.tsv, .jsonl, .csv, .json,
    .parquet, .arrow, .conllu), or a column of a dataset that `datasets` loads by its name on the Hugging Face hub or by
    the path of a folder, `hub:NAME[@REVISION][:CONFIG]:SPLIT#COLUMN`. Several corpora are a list."""

    train_tgt: Annotated[PathSpecs, Field(min_length=1)]
    """Target sides of the training corpora, in the same order: translations, or labels."""

    train_weights: list[Annotated[float, Field(ge=1e-6, le=10_000)]] = Field(default_factory=list)
    """How many times each pair of a corpus is seen per epoch: 2.5 is twice, and a third time for a new random half in
    every epoch. One number per corpus; all 1 when left out."""

    valid_src: str | None = None
    """Source side of the validation set; when left out, one is split off the training corpora."""

    valid_tgt: PathSpecs = Field(default_factory=list)
    """Target side of the validation set. Several are references of the same sources: the loss is measured against the
    first, and the metrics of what is decoded take the further ones too, in which an empty line says that a source has
    no such reference."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the different training sources that is split off for validation where there is no validation set."""

    valid_fold: Count | None = None
    """Which of the parts of this size, from 1: with a `valid_fraction` of 0.1 the folds 1 to 10 are a cross-validation
    of ten runs, in which each source is validated on once."""

    valid_max_pairs: Count = 1000
    """Pairs split off for validation at most, where no fold is named."""

    test_src: PathSpecs = Field(default_factory=list)
    """Source sides of test sets. They are never trained on nor decoded: the data report counts how much of them the
    training corpora hold."""

    test_tgt: PathSpecs = Field(default_factory=list)
    """Target sides of the test sets, in the same order."""

    vectors_src: str | None = None
    """File of word vectors that the source embeddings start from, as word2vec or GloVe write it, text or binary, plain
    or .gz; they are scaled to the size of the random start, which tokens without a vector keep."""

    tokenizer: TokenizerConfig = Field(default_factory=lambda: default_part("tokenizer")())
    """How text becomes ids."""

    max_length: Count = 256
    """Tokens of the longest side that is kept, without the end of sentence."""

    chunk_pairs: Count = 131_072
    """Pairs shuffled, sorted by length and cut into steps together: memory grows with it."""

    prefetch_steps: CountOrZero = 8
    """Steps prepared ahead in a background thread; 0 prepares each when it is asked for."""

    def valid_metrics(self) -> list[str]:
        """List what a checkpoint can be judged by, registered metrics of lines included."""
        return [
            *super().valid_metrics(),
            *(entry.name for entry in list_entries("metric") if entry.owner != BUILT_IN_OWNER),
        ]

    @property
    def joint_vocabulary(self) -> bool:
        """Whether source and target share one tokenizer."""
        return False

    @property
    def subword_sampling(self) -> float:
        """Strength of the random segmentations seen in training; 0 is off."""
        return 0.0

    @property
    def max_length_ratio(self) -> float:
        """How many times a pair's ratio of target to source characters may differ from the corpus's own."""
        return math.inf

    @property
    def needs_text(self) -> bool:
        """Whether training reads the text itself, and not only its ids."""
        return True

    def corpora(self, split: str) -> list[Corpus]:
        """Give the corpora of a split."""
        from seqlab.data.corpus import Corpus

        valid = [] if self.valid_src is None else [(self.valid_src, tgt) for tgt in self.valid_tgt]
        specs = {
            "train": list(zip(self.train_src, self.train_tgt, strict=True)),
            "valid": valid[:1],
            "references": valid[1:],
            "test": list(zip(self.test_src, self.test_tgt, strict=True)),
        }
        return [Corpus.from_specs(*each, limit=self.line_limit) for each in specs[split]]

    def hold_out(self, train: Sequence[Survey]) -> HeldOut:
        """Hold out some sources."""
        from seqlab.data.held_out import HeldOutSources

        advice = "`data.valid_src` and `data.valid_tgt`"
        return HeldOutSources.choose(train, self.valid_fraction, self.valid_max_pairs, self.valid_fold, advice=advice)

    def encoder(self, tokenizers: Sequence[Tokenizer]) -> RowEncoder:
        """Return what encodes blocks of pairs."""
        from seqlab.data.row_encoder import PairEncoder

        return PairEncoder(tokenizers, self.max_length, self.max_length_ratio, self.copy_unknown)

    def requested_sizes(self) -> dict[str, int | None]:
        """Return the size that each vocabulary is to have, by the folder of its tokenizer; None for no limit."""
        return {name: each.requested_size for name, each in zip(self.tokenizer_folders, self.tokenizers, strict=False)}

    @model_validator(mode="after")
    def _check_corpora(self) -> Self:
        for split in ("train", "test"):
            src, tgt = getattr(self, f"{split}_src"), getattr(self, f"{split}_tgt")
            if len(src) != len(tgt):
                raise ValueError(
                    f"`{split}_src` and `{split}_tgt` need a file each per corpus, but have {len(src)} and {len(tgt)}."
                )
        if set(self.train_weights) <= {1.0}:  # left out, perhaps for another number of corpora
            object.__setattr__(self, "train_weights", [1.0] * len(self.train_src))  # the config is frozen from here on
        if len(self.train_weights) != len(self.train_src):
            raise ValueError(
                f"`train_weights` needs one number per corpus ({len(self.train_src)}), but has "
                f"{len(self.train_weights)}."
            )
        if (self.valid_src is None) != (not self.valid_tgt):
            given, missing = ("tgt", "src") if self.valid_src is None else ("src", "tgt")
            raise ValueError(f"`valid_{given}` is given, so `valid_{missing}` is needed too.")
        return self

    def of_fold(self, number: int, num_folds: int) -> Self:
        """Return the section that validates on one of some folds of the training corpora, from 1."""
        if self.valid_src is not None:
            raise ValueError("Folds are of the training corpora: leave `data.valid_src` and `data.valid_tgt` out.")
        return replace(self, valid_fraction=1 / num_folds, valid_fold=number)

    @model_validator(mode="after")
    def _check_fold(self) -> Self:
        if self.valid_fold is None:
            return self
        if self.valid_src is not None:
            raise ValueError("`valid_fold` splits a validation set off, but `valid_src` names one: leave it out.")
        if self.valid_fold > math.floor(1 / self.valid_fraction + 1e-9):
            raise ValueError(
                f"`valid_fold` ({self.valid_fold}) must be one of the parts that `valid_fraction` "
                f"({self.valid_fraction}) makes: at most {math.floor(1 / self.valid_fraction + 1e-9)}."
            )
        return self
