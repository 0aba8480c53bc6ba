"""The `data` section of a labeller: lines with labels of their own or of their words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import Count
from seqlab.data.config import SETTINGS, DataConfig
from seqlab.data.pairs_config import PairsConfig
from seqlab.text import Tokenizer, TokenizerConfig, WordsConfig

if TYPE_CHECKING:
    from seqlab.data.encode import Encoder


LABELLER = "a labeller"
"""What a run is."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class LabellingConfig(PairsConfig):
    """Lines of text with their labels, which have no spaces in them."""

    kind: Literal["labelling"] = "labelling"
    """What the corpora hold."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "accuracy", "objective.label_smoothing": 0.1}
    task_name: ClassVar[str] = "seqlab.tasks.labelling.task:LabellingTask"
    loader_name: ClassVar[str] = "seqlab.tasks.labelling.labeller:load_labeller"
    zero_config_name: ClassVar[str] = "seqlab.tasks.labelling.zero_config:from_labels"
    product: ClassVar[str] = LABELLER
    purpose: ClassVar[str] = "labels: use `seqlab label`"
    next_command: ClassVar[str] = "seqlab label {} < FILE"
    serves: ClassVar[dict[str, str]] = {"label": "seqlab.tasks.labelling.commands:label_text"}
    named_by: ClassVar[tuple[str, ...]] = ("labels_of",)
    own_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")
    encoded_by: ClassVar[tuple[str, ...]] = (*PairsConfig.encoded_by, "labels_of")

    labels_of: Literal["lines", "words"] = "lines"
    """What has a label: a line as a whole (classification), or each of its words, which spaces divide as they do the
    labels (tagging)."""

    tokenizer: TokenizerConfig = Field(default_factory=WordsConfig)
    """How text becomes ids; for labels of words one of kind `words`."""

    batch_tokens: Count = 1024
    """Source tokens per step, over all ranks: the average, as steps are whole lines."""

    micro_batch_tokens: Count = 2048
    """Padded source tokens per micro-step at most; a longer line is a micro-step of its own."""

    def taken_tokenizers(self, old: DataConfig) -> list[str]:
        """Name the tokenizer of the text alone: labels have a vocabulary of their own."""
        return old.tokenizer_folders[:1]

    @property
    def tokenizers(self) -> tuple[TokenizerConfig, TokenizerConfig]:
        """How text and labels become ids."""
        return self.tokenizer, WordsConfig(normalization="none")

    def vector_files(self) -> dict[str, str]:
        """Return the files of word vectors by side."""
        return {} if self.vectors_src is None else {"src": self.vectors_src}

    def encoder(self, tokenizers: Sequence[Tokenizer]) -> Encoder:
        """Return what encodes blocks of lines and labels."""
        from seqlab.data.labels import LabelEncoder  # which needs numpy

        limits = (self.max_length, self.max_length_ratio, self.copy_unknown)
        return LabelEncoder(tokenizers, *limits, self.labels_of)

    @model_validator(mode="after")
    def _check(self) -> LabellingConfig:
        if self.labels_of == "words" and not self.tokenizer.may_have_words:
            raise ValueError(
                f"`labels_of: words` needs a tokenizer of kind `words`, but that of `data.tokenizer` is "
                f"`{self.tokenizer.kind}`."
            )
        if self.labels_of == "words" and self.tokenizer.divides_words:
            raise ValueError(
                "`labels_of: words` needs words to stay as they are, but `tokenizer.normalization: nfkc` divides some "
                "of them (the acute accent becomes a space and a mark): choose another."
            )
        if len(self.valid_tgt) > 1:
            raise ValueError(f"`valid_tgt` must be one file of labels, but there are {len(self.valid_tgt)}.")
        if self.tokenizer.has_tags:
            raise ValueError("`tokenizer.tags` is for text that is to become another text: leave it out.")
        return self
