"""The `data` section of the config of a translator."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from seqlab.base.bounds import MAX_NUMBER, Count
from seqlab.base.config_class import dataclass
from seqlab.data.config import SETTINGS
from seqlab.data.pairs_config import PairsConfig
from seqlab.text import SameConfig, TokenizerConfig

TRANSLATOR = "a translator"
"""`DataConfig.model_noun` of the task."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TranslationConfig(PairsConfig):
    """Pairs of source and target lines."""

    kind: Literal["translation"] = "translation"
    """Kind of data: pairs of lines."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "bleu", "objective.label_smoothing": 0.1}
    task_name: ClassVar[str] = "seqlab.tasks.translation.task:TranslationTask"
    loader_name: ClassVar[str] = "seqlab.tasks.translation.load_translator:load_translator"
    zero_config_name: ClassVar[str] = "seqlab.tasks.translation.zero_config:from_corpus"
    model_noun: ClassVar[str] = TRANSLATOR
    command_handlers: ClassVar[dict[str, str]] = {"score": "seqlab.tasks.translation.commands.pairs:score_pairs"}
    usage_hint: ClassVar[str] = "translates: use `seqlab translate` or `seqlab score`"
    next_command: ClassVar[str] = "seqlab translate {} < FILE"
    rows_name: ClassVar[str] = "pairs"
    src_special_ids: ClassVar[int] = 1
    task_metrics: ClassVar[tuple[str, ...]] = (
        *("bleu", "chrf", "wer", "cer", "exact_match"),
        *("bleu_zh", "bleu_ja_mecab", "bleu_flores200", "bleu_char"),
    )

    vectors_tgt: str | None = None
    """File of word vectors that initialize the target embeddings."""

    tokenizer_tgt: TokenizerConfig = Field(default_factory=SameConfig)
    """Tokenizer of the target, if it differs from that of the source, as for phonemes and letters; needs
    `joint_vocabulary: false`."""

    joint_vocabulary: bool = True
    """Whether source and target share one tokenizer, trained on both sides."""

    copy_unknown: bool = False
    """Whether unknown source words get separate ids, so that a model with `model.copying` can copy them into the
    target. Needs a joint vocabulary of words or characters."""

    subword_sampling: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Strength of random subword segmentation in training, different in each epoch; 0 is off. Usual values are 0.1 for
    BPE dropout and 0.8 for unigram sampling."""

    max_length_ratio: Annotated[float, Field(gt=1, le=MAX_NUMBER)] = 4.0
    """Maximum factor by which the length ratio of a pair (target to source, in characters) may differ from that of the
    corpus; other pairs are dropped. 10 characters are added to both lengths, so that short sentences may differ
    more."""

    batch_tokens: Count = 4096
    """Target tokens per step over all ranks, including ends of sentence; an average, as a step has complete pairs."""

    micro_batch_tokens: Count = 2048
    """Maximum padded tokens per micro-step, on the longer side; a longer pair is a separate micro-step. All steps have
    the same number of micro-steps. It affects memory, speed (on a CPU each micro-step costs a pass over all weights and
    gradients), and the division of the pairs into steps."""

    @property
    def tokenizer_folders(self) -> list[str]:
        """Names of the folders of a run that contain its tokenizers."""
        return ["tokenizer"] if self.joint_vocabulary else ["src_tokenizer", "tgt_tokenizer"]

    @property
    def tokenizers(self) -> tuple[TokenizerConfig, TokenizerConfig]:
        """Tokenizer configs of source and target."""
        return self.tokenizer, self.tokenizer_tgt.for_target(self.tokenizer)

    @property
    def reads_tabs(self) -> bool:
        """Whether a tab in a source starts tags."""
        return self.tokenizer.may_have_tags

    @property
    def needs_text(self) -> bool:
        """Whether training reads the text in addition to its ids."""
        return self.subword_sampling > 0

    def vector_files(self) -> dict[str, str]:
        """Return the word-vector file of each side that has one."""
        files = {"src": self.vectors_src, "tgt": self.vectors_tgt}
        return {side: file for side, file in files.items() if file is not None}

    @model_validator(mode="after")
    def _check(self) -> TranslationConfig:
        if self.joint_vocabulary and self.tokenizers[1] is not self.tokenizer:
            raise ValueError(
                "`tokenizer_tgt` needs separate vocabularies, but `joint_vocabulary` is true: set `joint_vocabulary: "
                "false`."
            )
        if self.copy_unknown and not self.joint_vocabulary:
            raise ValueError("`copy_unknown` needs a joint vocabulary: set `joint_vocabulary: true`.")
        if self.copy_unknown and not self.tokenizer.may_have_unknown:
            raise ValueError(
                f"`copy_unknown` needs a tokenizer with unknown words, but a `{self.tokenizer.kind}` tokenizer encodes "
                "every text: leave it out."
            )
        for tokenizer in self.tokenizers:
            if self.subword_sampling > 0 and not tokenizer.may_sample:
                raise ValueError(
                    f"`subword_sampling` must be 0 for a `{tokenizer.kind}` tokenizer, which has one segmentation per "
                    f"line, but is {self.subword_sampling} instead."
                )
        return self
