"""The `data` section of a run's config."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from seqlab.text import SentencePieceBpeConfig, SentencePieceUnigramConfig, TokenizerConfig


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


PathSpecs = Annotated[list[str], BeforeValidator(_as_list)]
"""One path spec or several: `file` or `file#column`, see `seqlab.data.columns.parse_column`."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True), kw_only=True)
class DataConfig:
    """Which text is trained on, and how it is cut into steps."""

    train_src: Annotated[PathSpecs, Field(min_length=1)]
    """Source sides of the training corpora: `file` (text, plain or .gz) or `file#column` (.tsv, .jsonl, .csv,
    .json, .parquet, .arrow). Several corpora are a list."""

    train_tgt: Annotated[PathSpecs, Field(min_length=1)]
    """Target sides of the training corpora, in the same order."""

    train_weights: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=list)
    """How many times each pair of a corpus is seen per epoch: 2.5 is twice, and a third time for a new random half in
    every epoch. One number per corpus; all 1 when left out."""

    valid_src: str | None = None
    """Source side of the validation set; when left out, one is split off the training corpora."""

    valid_tgt: str | None = None
    """Target side of the validation set."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the different training sources that is split off for validation where there is no validation set."""

    valid_max_pairs: Annotated[int, Field(ge=1)] = 1000
    """Pairs split off for validation at most."""

    test_src: PathSpecs = Field(default_factory=list)
    """Source sides of test sets. They are never trained on nor decoded: the data report counts how much of them the
    training corpora hold."""

    test_tgt: PathSpecs = Field(default_factory=list)
    """Target sides of the test sets, in the same order."""

    tokenizer: TokenizerConfig = Field(default_factory=SentencePieceBpeConfig)
    """How text becomes ids."""

    joint_vocabulary: bool = True
    """Whether source and target share one tokenizer, trained on both."""

    subword_sampling: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Strength of the random segmentations seen in training, anew in every epoch; 0 is off. BPE dropout is usually
    0.1, unigram sampling 0.8."""

    max_length: Annotated[int, Field(ge=1)] = 256
    """Tokens of the longest side that is kept, without the end of sentence."""

    max_length_ratio: Annotated[float, Field(gt=1)] = 4.0
    """A pair is dropped when its ratio of target to source characters is this many times above or below the corpus's
    own (10 characters are added to both sides, so that short sentences may differ)."""

    batch_tokens: Annotated[int, Field(ge=1)] = 4096
    """Target tokens per step, ends of sentence counted, over all ranks: the average, as steps are whole sentences."""

    micro_batch_tokens: Annotated[int, Field(ge=1)] = 2048
    """Padded tokens per micro-step at most, on the side that has more; a longer pair is a micro-step of its own. Micro-
    steps are made so small that every step has equally many. Memory and speed depend on it (on a CPU each costs a pass
    over all weights and gradients), the update only as far as it decides which pairs go together."""

    chunk_pairs: Annotated[int, Field(ge=1)] = 131_072
    """Pairs shuffled, sorted by length and cut into steps together: memory grows with it."""

    prefetch_steps: Annotated[int, Field(ge=0)] = 8
    """Steps prepared ahead in a background thread; 0 prepares each when it is asked for."""

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        for split in ("train", "test"):
            src, tgt = getattr(self, f"{split}_src"), getattr(self, f"{split}_tgt")
            if len(src) != len(tgt):
                raise ValueError(
                    f"`{split}_src` and `{split}_tgt` need a file each per corpus, but have {len(src)} and {len(tgt)}."
                )
        if not self.train_weights:
            object.__setattr__(self, "train_weights", [1.0] * len(self.train_src))  # the config is frozen from here on
        if len(self.train_weights) != len(self.train_src):
            raise ValueError(
                f"`train_weights` needs one number per corpus ({len(self.train_src)}), but has "
                f"{len(self.train_weights)}."
            )
        if (self.valid_src is None) != (self.valid_tgt is None):
            given, missing = ("tgt", "src") if self.valid_src is None else ("src", "tgt")
            raise ValueError(f"`valid_{given}` is given, so `valid_{missing}` is needed too.")
        if self.subword_sampling > 0 and not isinstance(
            self.tokenizer, SentencePieceBpeConfig | SentencePieceUnigramConfig
        ):
            raise ValueError(
                f"`subword_sampling` must be 0 for a `{self.tokenizer.kind}` tokenizer, which always cuts a line in "
                f"the same way, but is {self.subword_sampling} instead."
            )
        return self
