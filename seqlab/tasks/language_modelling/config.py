"""The `data` section of the config of a language model or masked model."""

from typing import ClassVar, Literal

from seqlab.base.config_class import dataclass
from seqlab.data.config import SETTINGS
from seqlab.data.text_config import TextConfig

LANGUAGE_MODEL = "a language model"
"""`DataConfig.model_noun` of runs without `mask_share`."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class LanguageModellingConfig(TextConfig):
    """Text for a language model or, with `mask_share`, a masked model."""

    kind: Literal["language_modelling"] = "language_modelling"
    """Kind of data: text for language models."""

    task_name: ClassVar[str] = "seqlab.tasks.language_modelling.task:LanguageModellingTask"
    loader_name: ClassVar[str] = "seqlab.tasks.language_modelling.language_model:load_with_fp32_default"
    zero_config_name: ClassVar[str] = "seqlab.tasks.language_modelling.zero_config:from_text"
    command_handlers: ClassVar[dict[str, str]] = {
        "score": "seqlab.tasks.language_modelling.commands.score_lines:score_lines"
    }
    identifying_fields: ClassVar[tuple[str, ...]] = ("train",)
    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "nll", "objective.label_smoothing": 0.0}

    @property
    def model_noun(self) -> str:  # type: ignore[override]
        """Noun for a trained run in messages, with its article."""
        return "a masked model" if self.mask_share else LANGUAGE_MODEL

    @property
    def usage_hint(self) -> str:  # type: ignore[override]
        """Use of a run and its commands, as the predicate of a sentence about the run."""
        if self.mask_share:
            return "is a masked model, which other runs start from: use `seqlab train --init_from`"
        return "is a language model: use `seqlab generate`, `seqlab perplexity` or `seqlab score`"

    @property
    def next_command(self) -> str:  # type: ignore[override]
        """Example of a command that uses a run."""
        if self.mask_share:
            return "seqlab train ... --init_from {} --init_parts matching"
        return "seqlab perplexity {} FILE"
