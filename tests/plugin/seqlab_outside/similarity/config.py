"""The `data` section: two columns of texts, each with a tokenizer of its own."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from seqlab.data.config import SETTINGS, DataConfig, PathSpecs
from seqlab.data.pairs_config import PairsConfig
from seqlab.text import SentencePieceBpeConfig, TokenizerConfig


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class Pairs(PairsConfig):
    """The corpora as `seqlab.data` prepares pairs; in no file."""

    tokenizer_tgt: TokenizerConfig = Field(default_factory=SentencePieceBpeConfig)
    batch_tokens: int = 1
    micro_batch_tokens: int = 1  # groups are counted in pairs

    @property
    def tokenizers(self) -> tuple[TokenizerConfig, TokenizerConfig]:
        """How both sides become ids."""
        return self.tokenizer, self.tokenizer_tgt


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class SimilarityConfig(DataConfig):
    """Pairs of texts that mean the same."""

    kind: Literal["similarity"] = "similarity"
    """What the corpora hold."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "mrr"}
    task_name: ClassVar[str] = "seqlab_outside.similarity.task:Similarity"
    loader_name: ClassVar[str] = "seqlab_outside.similarity.use:load_similarity"
    model_noun: ClassVar[str] = "a measure of similarity"
    usage_hint: ClassVar[str] = "compares texts: use `seqlab similarity`"
    next_command: ClassVar[str] = "seqlab similarity {} LEFT RIGHT"
    rows_name: ClassVar[str] = "pairs"
    task_metrics: ClassVar[tuple[str, ...]] = ("mrr", "recall_at_1")
    path_fields: ClassVar[tuple[str, ...]] = ("train_left", "train_right", "valid_left", "valid_right")

    train_left: Annotated[PathSpecs, Field(min_length=1)]
    """One side of the training corpora: `file`, or `file#column` of a table."""

    train_right: Annotated[PathSpecs, Field(min_length=1)]
    """The other side, in the same order."""

    valid_left: str | None = None
    """One side of the validation set; when left out, one is split off the training corpora."""

    valid_right: PathSpecs = Field(default_factory=list)
    """The other side."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share that is split off for validation where there is no validation set."""

    tokenizer_left: TokenizerConfig = Field(default_factory=SentencePieceBpeConfig)
    """How the texts of one side become ids."""

    tokenizer_right: TokenizerConfig = Field(default_factory=SentencePieceBpeConfig)
    """How those of the other do."""

    max_length: Annotated[int, Field(ge=1)] = 256
    """Tokens of the longest text that is kept."""

    group_pairs: Annotated[int, Field(ge=2)] = 64
    """Pairs of a micro-step: each text is to be more similar to its partner than to those of the others."""

    groups: Annotated[int, Field(ge=1)] = 1
    """Micro-steps of a step, over all ranks."""

    def pairs(self) -> Pairs:
        """Describe the corpora to `seqlab.data`; raises ValueError where the columns do not belong together."""
        return Pairs(
            kind=self.kind,
            train_src=self.train_left,
            train_tgt=self.train_right,
            valid_src=self.valid_left,
            valid_tgt=self.valid_right,
            valid_fraction=self.valid_fraction,
            tokenizer=self.tokenizer_left,
            tokenizer_tgt=self.tokenizer_right,
            max_length=self.max_length,
        )
