"""Base classes of `data` sections: for all tasks, and for tasks with corpora of text columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, ConfigDict, model_validator

from seqlab.base.bounds import Count
from seqlab.base.config_class import dataclass
from seqlab.base.raw_lines import MAX_LINE_BYTES
from seqlab.part import Part
from seqlab.registry import import_target
from seqlab.text import Tokenizer, TokenizerConfig
from seqlab.text.transcripts import TranscriptForm


def _as_list(value: Any) -> Any:
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


if TYPE_CHECKING:
    from seqlab.base.raw_lines import LineLimit
    from seqlab.data.batch import TextLayout
    from seqlab.data.corpus import Corpus
    from seqlab.data.held_out import HeldOut
    from seqlab.data.row_encoder import RowEncoder
    from seqlab.data.survey import Survey

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Pydantic configuration of data sections."""
PathSpecs = Annotated[list[str], BeforeValidator(_as_list)]
"""One or more path specs: `file`, `file#column` or the name of a dataset; see `seqlab.data.columns.parse_column`."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class DataConfig(Part):
    """Base class of the data section of each task."""

    part_kind: ClassVar[str] = "task"
    tag_field: ClassVar[str] = "kind"
    required_members: ClassVar[tuple[str, ...]] = (
        "task_name",
        "loader_name",
        "model_noun",
        "usage_hint",
        "next_command",
    )
    defaults: ClassVar[dict[str, str | float]] = {}
    """Defaults of fields of other sections, by dotted key."""
    task_metrics: ClassVar[tuple[str, ...]] = ()
    """Validation metrics, besides the loss, that can select the best checkpoint."""
    path_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that contain path specs. Those of the training corpora come first; their names start with `train`."""
    task_name: ClassVar[str]
    """`module:attribute` of the `Task` class, which takes no arguments and is imported for training."""
    loader_name: ClassVar[str]
    """`module:attribute` of the function that loads trained runs; see `seqlab.inference.load_by_task`."""
    zero_config_name: ClassVar[str] = "seqlab.training.config_builder:config_from_defaults"
    """`module:attribute` of the function that completes a partial config for a corpus; by default, the other fields get
    their defaults."""
    model_noun: ClassVar[str]
    """Noun for a trained model, with its article: `a translator`."""
    usage_hint: ClassVar[str]
    """Use of a run and its commands, as the predicate of a sentence about the run: `translates: use ...`."""
    next_command: ClassVar[str]
    """Example of a command that uses a run; `{}` is replaced by the run."""
    command_handlers: ClassVar[dict[str, str]] = {}
    """Handlers of commands that several tasks share: name of the command -> `module:attribute` of a function, which
    `run_task_command` calls. The function takes the options (for `score` also the `World`) and returns the exit
    status."""
    rows_name: ClassVar[str] = "lines"
    """Name of examples in counts: `lines`, `recordings`."""
    identifying_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that only this section has: they identify it in a config without a `kind`."""
    num_sides: ClassVar[int] = 2
    """Number of sides (source, target) of an example that have a tokenizer or other codec."""
    codec_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that codecs depend on: a run that reuses the codecs of another run must have the same values."""
    src_special_ids: ClassVar[int] = 0
    """Number of special ids that are added to each source."""
    kind: str

    @property
    def task(self) -> Any:
        """The `seqlab.training.task.Task` that trains on this section."""
        return import_target(self.task_name)()

    @property
    def copy_unknown(self) -> bool:
        """Whether each unknown word of a source gets an id, so that a model can copy it."""
        return False

    @property
    def has_single_spaces(self) -> bool:
        """Whether runs of white space in sources are read as one space."""
        return False

    @property
    def text_form(self) -> TranscriptForm | None:
        """Normalization of monolingual text in the form of transcripts; None reads it as it is."""
        return None

    @property
    def is_continuous(self) -> bool:
        """Whether a row is a piece of one long text, which begins and ends anywhere in a line."""
        return False

    @property
    def text_layout(self) -> TextLayout | None:
        """Layout of a text that the model and the objective must support; None for independent rows."""
        return None

    @property
    def tokenizer_folders(self) -> list[str]:
        """Names of the folders of a run that hold its tokenizers or other codecs."""
        return ["src_tokenizer", "tgt_tokenizer"]

    def reused_tokenizers(self, old: DataConfig) -> list[str]:
        """Return the tokenizer folders that a warm start reuses from a run with the data section `old`."""
        return self.tokenizer_folders

    @property
    def prefetch_steps(self) -> int:
        """Number of steps prepared ahead in a background thread; most sections have a field of this name."""
        return 8

    @property
    def memory_advice(self) -> str:
        """Advice for a step that runs out of memory."""
        return "choose smaller micro-steps or a smaller model"

    @classmethod
    def recognizes_path(cls, path: str) -> bool:
        """Return whether the path of a training corpus identifies this section in a config without a `kind`."""
        return False

    def valid_metrics(self) -> list[str]:
        """Return the validation metrics that can select the best checkpoint."""
        return ["nll", *self.task_metrics]

    def for_fold(self, number: int, num_folds: int) -> Self:
        """Return a copy for one fold, numbered from 1; raises ValueError if the data has no folds."""
        raise ValueError(f"`data.kind: {self.kind}` cannot be divided into folds.")

    def check_folds(self, num_folds: int) -> list[str]:
        """Check the division of the training data into folds; return warnings of what is in several folds.

        Raises:
            ValueError: the data has no folds, or a fold has no rows.
        """
        for number in range(1, num_folds + 1):
            self.for_fold(number, num_folds)
        return []

    def run_name_specs(self) -> tuple[str, ...]:
        """Return the path specs that determine the default name of a run."""
        return tuple(self._specs(name)[0] for name in self.path_fields if name.startswith("train"))

    def input_specs(self) -> list[str]:
        """Return the path specs of all corpora."""
        return [spec for name in self.path_fields for spec in self._specs(name)]

    def column_of(self, spec: str) -> str | None:
        """Return the column of a path spec, which must not change when a run is resumed; None for plain text."""
        from seqlab.data.columns import parse_column  # which needs numpy

        return parse_column(spec).column

    def _specs(self, name: str) -> list[str]:
        specs: list[str] = _as_list(getattr(self, name))
        return specs

    def requested_sizes(self) -> dict[str, int | None]:
        """Return the configured size of each vocabulary, by the folder of its tokenizer; None for no limit."""
        return {}

    def vector_files(self) -> dict[str, str]:
        """Return the files of word vectors by side."""
        return {}


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TokensConfig(DataConfig):
    """Base class of sections for corpora of text columns, with batch sizes in tokens."""

    split_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that determine the rows held out of the training corpora."""
    encoding_fields: ClassVar[tuple[str, ...]] = ()
    """Other fields that determine how the corpora are encoded."""
    keeps_valid_text: ClassVar[bool] = True
    """Whether the cache keeps the raw text of the validation set."""
    max_line_bytes: Count | None = MAX_LINE_BYTES
    """Maximum bytes of a line; null means no limit. A longer line raises an error, because memory grows with it. Rows
    of tables may have 16 MiB. Lines of a continuous text are read in parts and may have any size."""

    if TYPE_CHECKING:  # fields of all subclasses, which determine their order in files
        tokenizer: TokenizerConfig
        batch_tokens: int
        micro_batch_tokens: int

    @property
    def tokenizers(self) -> tuple[TokenizerConfig, TokenizerConfig]:
        """Configs of the source and target tokenizers; monolingual text counts as the target."""
        raise NotImplementedError

    @property
    def needs_text(self) -> bool:
        """Whether training needs the raw text besides its ids."""
        return False

    @property
    def is_continuous(self) -> bool:
        """Whether all lines, including empty lines, form one continuous text."""
        return False

    @property
    def line_limit(self) -> LineLimit:
        """Limit of the lines of the corpora."""
        from seqlab.base.raw_lines import LineLimit

        if self.is_continuous and self.max_line_bytes is not None:
            # Long lines are split at a fixed size, so that the validation set does not depend on `max_line_bytes`.
            return LineLimit(MAX_LINE_BYTES, splits_lines=True)
        return LineLimit(self.max_line_bytes, option="`data.max_line_bytes`")

    def corpora(self, split: str) -> list[Corpus]:
        """Return the corpora of `train`, `valid` or `test`, or the additional `references` of the validation set.

        Raises:
            FileNotFoundError, ValueError: a path spec is invalid, or its source does not exist.
        """
        raise NotImplementedError

    def hold_out(self, train: Sequence[Survey]) -> HeldOut:
        """Choose the rows to hold out of the training corpora; raises ValueError if the corpora are too small."""
        raise NotImplementedError

    def encoder(self, tokenizers: Sequence[Tokenizer]) -> RowEncoder:
        """Return the encoder of blocks of rows, given the tokenizers of source and target."""
        raise NotImplementedError

    @property
    def memory_advice(self) -> str:
        """Advice for a step that runs out of memory."""
        return f"lower `data.micro_batch_tokens` (now {self.micro_batch_tokens}) or the model's size"

    @model_validator(mode="after")
    def _check_tokenizer(self) -> Self:
        self.tokenizer.refuse_target_only()
        return self
