"""The `data` section of the similarity task: two columns of texts with separate tokenizers."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from seqlab.data.config import SETTINGS, DataConfig, PathSpecs
from seqlab.data.pairs_config import PairsConfig
from seqlab.text import SentencePieceBpeConfig, TokenizerConfig


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class Pairs(PairsConfig):
    """The corpora in the form that `seqlab.data` prepares; not part of a config file."""

    tokenizer_tgt: TokenizerConfig = Field(default_factory=SentencePieceBpeConfig)
    batch_tokens: int = 1
    micro_batch_tokens: int = 1  # unused: groups have a number of pairs

    @property
    def tokenizers(self) -> tuple[TokenizerConfig, TokenizerConfig]:
        """The tokenizers of both sides."""
        return self.tokenizer, self.tokenizer_tgt


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class SimilarityConfig(DataConfig):
    """Pairs of texts with the same meaning."""

    kind: Literal["similarity"] = "similarity"
    """Name of the task."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "mrr"}
    task_name: ClassVar[str] = "seqlab_outside.similarity.task:SimilarityTask"
    loader_name: ClassVar[str] = "seqlab_outside.similarity.inference:load_similarity"
    model_noun: ClassVar[str] = "a measure of similarity"
    usage_hint: ClassVar[str] = "compares texts: use `seqlab similarity`"
    next_command: ClassVar[str] = "seqlab similarity {} LEFT RIGHT"
    rows_name: ClassVar[str] = "pairs"
    task_metrics: ClassVar[tuple[str, ...]] = ("mrr", "recall_at_1")
    path_fields: ClassVar[tuple[str, ...]] = ("train_left", "train_right", "valid_left", "valid_right")

    train_left: Annotated[PathSpecs, Field(min_length=1)]
    """Left texts of the training corpora: `file`, or `file#column` of a table."""

    train_right: Annotated[PathSpecs, Field(min_length=1)]
    """Right texts of the training corpora, in the same order."""

    valid_left: str | None = None
    """Left texts of the validation set; without it, a part of the training corpora is held out."""

    valid_right: PathSpecs = Field(default_factory=list)
    """Right texts of the validation set."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the training corpora to hold out if there is no validation set."""

    tokenizer_left: TokenizerConfig = Field(default_factory=SentencePieceBpeConfig)
    """Tokenizer of the left texts."""

    tokenizer_right: TokenizerConfig = Field(default_factory=SentencePieceBpeConfig)
    """Tokenizer of the right texts."""

    max_length: Annotated[int, Field(ge=1)] = 256
    """Maximum length of a text in tokens; pairs with longer texts are left out."""

    group_pairs: Annotated[int, Field(ge=2)] = 64
    """Number of pairs per micro-step; the other pairs of the group are the negatives of each text."""

    groups: Annotated[int, Field(ge=1)] = 1
    """Number of micro-steps per step, over all ranks."""

    def pairs(self) -> Pairs:
        """Return the corpora as `seqlab.data` expects them; raises ValueError if the two sides do not match."""
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
