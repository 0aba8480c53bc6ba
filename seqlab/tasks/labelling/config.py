"""The `data` section of the config of a labeling run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from seqlab.base.bounds import Count
from seqlab.base.config_class import dataclass
from seqlab.data.config import SETTINGS, DataConfig
from seqlab.data.pairs_config import PairsConfig
from seqlab.text import Tokenizer, TokenizerConfig, WordsConfig

if TYPE_CHECKING:
    from seqlab.data.row_encoder import RowEncoder


ENTITY_METRICS = ("entity_f1", "entity_f1_strict")
"""Validation metrics for words with labels such as `B-PER`."""
LABELER = "a labeler"
"""`DataConfig.model_noun` of the task."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class LabellingConfig(PairsConfig):
    """Lines of text with a label per line or per word; labels contain no spaces."""

    kind: Literal["labelling"] = "labelling"
    """Kind of data: lines or words with labels."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "accuracy", "objective.label_smoothing": 0.1}
    task_name: ClassVar[str] = "seqlab.tasks.labelling.task:LabellingTask"
    loader_name: ClassVar[str] = "seqlab.tasks.labelling.text_labeler:load_labeler"
    zero_config_name: ClassVar[str] = "seqlab.tasks.labelling.zero_config:from_labels"
    model_noun: ClassVar[str] = LABELER
    usage_hint: ClassVar[str] = "labels: use `seqlab label`"
    next_command: ClassVar[str] = "seqlab label {} < FILE"
    command_handlers: ClassVar[dict[str, str]] = {"label": "seqlab.tasks.labelling.commands:label_text"}
    identifying_fields: ClassVar[tuple[str, ...]] = ("labels_of",)
    task_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")
    encoding_fields: ClassVar[tuple[str, ...]] = (*PairsConfig.encoding_fields, "labels_of")

    labels_of: Literal["lines", "words"] = "lines"
    """`lines`: one label for each line (classification); `words`: one label for each word (tagging), words and labels
    separated by spaces."""

    tokenizer: TokenizerConfig = Field(default_factory=WordsConfig)
    """Tokenizer of the text; with `labels_of: words` its kind must be `words`."""

    batch_tokens: Count = 1024
    """Source tokens per step over all ranks; an average, as a step has complete lines."""

    micro_batch_tokens: Count = 2048
    """Maximum padded source tokens per micro-step; a longer line is a separate micro-step."""

    def valid_metrics(self) -> list[str]:
        """Return the validation metrics that can select the best checkpoint, including those of entities."""
        return [*super().valid_metrics(), *ENTITY_METRICS]

    def reused_tokenizers(self, old: DataConfig) -> list[str]:
        """Return only the folder of the text tokenizer, as the labels of another run may differ."""
        return old.tokenizer_folders[:1]

    @property
    def has_single_spaces(self) -> bool:
        """Whether runs of white space in lines are read as one space; words with labels are read as they are."""
        return super().has_single_spaces and self.labels_of == "lines"

    @property
    def tokenizers(self) -> tuple[TokenizerConfig, TokenizerConfig]:
        """Tokenizer configs of the text and of the labels."""
        return self.tokenizer, WordsConfig(normalization="none")

    def vector_files(self) -> dict[str, str]:
        """Return the word-vector file of each side that has one."""
        return {} if self.vectors_src is None else {"src": self.vectors_src}

    def encoder(self, tokenizers: Sequence[Tokenizer]) -> RowEncoder:
        """Return the encoder of blocks of lines and labels."""
        from seqlab.data.labels import LabelEncoder  # imports numpy

        limits = (self.max_length, self.max_length_ratio, self.copy_unknown)
        return LabelEncoder(tokenizers, *limits, self.has_single_spaces, self.labels_of)

    @model_validator(mode="after")
    def _check(self) -> LabellingConfig:
        if self.labels_of == "words" and not self.tokenizer.may_be_word_level:
            raise ValueError(
                f"`labels_of: words` needs `data.tokenizer.kind: words`, but it is `{self.tokenizer.kind}`."
            )
        if self.labels_of == "words" and self.tokenizer.may_split_words:
            raise ValueError(
                "`labels_of: words` needs a normalization that does not split words, but `tokenizer.normalization: "
                "nfkc` replaces an acute accent by a space and a combining mark: choose another."
            )
        if len(self.valid_tgt) > 1:
            raise ValueError(f"`valid_tgt` must be one file of labels, but there are {len(self.valid_tgt)}.")
        if self.tokenizer.has_tags:
            raise ValueError("`tokenizer.tags` is for translation, not for labeling: leave it out.")
        return self
