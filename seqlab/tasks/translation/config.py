"""The `data` section of a translator: pairs of lines."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import MAX_NUMBER, Count
from seqlab.data.config import SETTINGS
from seqlab.data.pairs_config import PairsConfig
from seqlab.text import SameConfig, TokenizerConfig

TRANSLATOR = "a translator"
"""What a run is."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TranslationConfig(PairsConfig):
    """Pairs of lines: the source and the target of a translation."""

    kind: Literal["translation"] = "translation"
    """What the corpora hold."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "bleu", "objective.label_smoothing": 0.1}
    task_name: ClassVar[str] = "seqlab.tasks.translation.task:TranslationTask"
    loader_name: ClassVar[str] = "seqlab.tasks.translation.load:load_translator"
    zero_config_name: ClassVar[str] = "seqlab.tasks.translation.zero_config:from_corpus"
    product: ClassVar[str] = TRANSLATOR
    serves: ClassVar[dict[str, str]] = {"score": "seqlab.tasks.translation.commands.pairs:score_pairs"}
    purpose: ClassVar[str] = "translates: use `seqlab translate` or `seqlab score`"
    next_command: ClassVar[str] = "seqlab translate {} < FILE"
    rows_name: ClassVar[str] = "pairs"
    src_special_ids: ClassVar[int] = 1
    own_metrics: ClassVar[tuple[str, ...]] = (
        *("bleu", "chrf", "wer", "cer", "exact_match"),
        *("bleu_zh", "bleu_ja_mecab", "bleu_flores200", "bleu_char"),
    )

    vectors_tgt: str | None = None
    """File of word vectors that the target embeddings start from."""

    tokenizer_tgt: TokenizerConfig = Field(default_factory=SameConfig)
    """How the target becomes ids where it is another kind of text than the source, as sounds are from letters; with
    `joint_vocabulary: false`."""

    joint_vocabulary: bool = True
    """Whether source and target share one tokenizer, trained on both."""

    copy_unknown: bool = False
    """Whether the words of a source that the vocabulary lacks get ids of their own, which a model that copies
    (`model.copying`) can put into the target; for a joint vocabulary of words or characters."""

    subword_sampling: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Strength of the random segmentations seen in training, anew in every epoch; 0 is off. BPE dropout is usually
    0.1, unigram sampling 0.8."""

    max_length_ratio: Annotated[float, Field(gt=1, le=MAX_NUMBER)] = 4.0
    """A pair is dropped when its ratio of target to source characters is this many times above or below the corpus's
    own (10 characters are added to both sides, so that short sentences may differ)."""

    batch_tokens: Count = 4096
    """Target tokens per step, ends of sentence counted, over all ranks: the average, as steps are whole sentences."""

    micro_batch_tokens: Count = 2048
    """Padded tokens per micro-step at most, on the side that has more; a longer pair is a micro-step of its own. Micro-
    steps are made so small that every step has equally many. Memory and speed depend on it (on a CPU each costs a pass
    over all weights and gradients), the update only as far as it decides which pairs go together."""

    @property
    def tokenizer_folders(self) -> list[str]:
        """Name the folders of a run that hold its tokenizers."""
        return ["tokenizer"] if self.joint_vocabulary else ["src_tokenizer", "tgt_tokenizer"]

    @property
    def tokenizers(self) -> tuple[TokenizerConfig, TokenizerConfig]:
        """How source and target become ids."""
        return self.tokenizer, self.tokenizer_tgt.for_target(self.tokenizer)

    @property
    def needs_text(self) -> bool:
        """Whether training reads the text itself, and not only its ids."""
        return self.subword_sampling > 0

    def vector_files(self) -> dict[str, str]:
        """Return the files of word vectors by side."""
        files = {"src": self.vectors_src, "tgt": self.vectors_tgt}
        return {side: file for side, file in files.items() if file is not None}

    @model_validator(mode="after")
    def _check(self) -> TranslationConfig:
        if self.joint_vocabulary and self.tokenizers[1] is not self.tokenizer:
            raise ValueError(
                "`tokenizer_tgt` is for a target with a vocabulary of its own, but with `joint_vocabulary: true` both "
                "sides share one: set `joint_vocabulary: false`."
            )
        if self.copy_unknown and not self.joint_vocabulary:
            raise ValueError("`copy_unknown` is for one vocabulary of both sides: set `joint_vocabulary: true`.")
        if self.copy_unknown and not self.tokenizer.may_have_unknown:
            raise ValueError(
                f"`copy_unknown` is for text in which words can be unknown, but a `{self.tokenizer.kind}` tokenizer "
                "knows every text: leave it out."
            )
        for each in self.tokenizers:
            if self.subword_sampling > 0 and not each.may_sample:
                raise ValueError(
                    f"`subword_sampling` must be 0 for a `{each.kind}` tokenizer, which always cuts a line in the same "
                    f"way, but is {self.subword_sampling} instead."
                )
        return self
