"""The base of the `data` section of each task, and of those whose corpora are columns of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import Count
from seqlab.base.raw_lines import MAX_LINE_BYTES
from seqlab.part import Part
from seqlab.registry import import_target
from seqlab.text import Tokenizer, TokenizerConfig


def _as_list(value: Any) -> Any:
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


if TYPE_CHECKING:
    from seqlab.base.raw_lines import LineLimit
    from seqlab.data.corpus import Corpus
    from seqlab.data.held_out import HeldOut
    from seqlab.data.row_encoder import RowEncoder
    from seqlab.data.survey import Survey

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Of the dataclasses that are data sections."""
PathSpecs = Annotated[list[str], BeforeValidator(_as_list)]
"""One path spec or several: `file`, `file#column` or a dataset's name, see `seqlab.data.columns.parse_column`."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class DataConfig(Part):
    """The base of the data section of each task."""

    part_kind: ClassVar[str] = "task"
    tag_field: ClassVar[str] = "kind"
    required_members: ClassVar[tuple[str, ...]] = ("task_name", "loader_name", "product", "purpose", "next_command")
    defaults: ClassVar[dict[str, str | float]] = {}
    """Defaults for fields of other sections, by dotted key."""
    own_metrics: ClassVar[tuple[str, ...]] = ()
    """The metrics besides the loss that a checkpoint can be judged by."""
    path_fields: ClassVar[tuple[str, ...]] = ()
    """The fields that hold path specs, those of the training corpora first, which begin with `train`."""
    task_name: ClassVar[str]
    """`module:attribute` of the `Task`, a class without arguments, which is imported when a run is trained."""
    loader_name: ClassVar[str]
    """`module:attribute` of the function that loads trained runs; see `seqlab.inference.load`."""
    zero_config_name: ClassVar[str] = "seqlab.training.choices:from_defaults"
    """`module:attribute` of the function that chooses a config for a corpus by the fields that are given; unless the
    task has one of its own, all others have their defaults."""
    product: ClassVar[str]
    """What a trained run is: `a translator`."""
    purpose: ClassVar[str]
    """What a run does, and by which commands; completes `RUN ...`."""
    next_command: ClassVar[str]
    """A command that uses a run, `{}` in its place."""
    serves: ClassVar[dict[str, str]] = {}
    """What carries out a command that several tasks serve: its name -> `module:attribute` of a function that takes the
    command's options (of `score` also the `World`) and returns its exit status; `run_task_command` calls it."""
    rows_name: ClassVar[str] = "lines"
    """What an example is called where they are counted."""
    identifying_fields: ClassVar[tuple[str, ...]] = ()
    """Fields of this section alone, by which a corpus without a `kind` is known to be of it."""
    num_sides: ClassVar[int] = 2
    """Sides of an example that have codecs."""
    codec_fields: ClassVar[tuple[str, ...]] = ()
    """Fields by which codecs were made: a run that takes over those of another one must have the same."""
    src_special_ids: ClassVar[int] = 0
    """Special ids that are added to each source."""
    kind: str

    @property
    def task(self) -> Any:
        """What trains on such data: a `seqlab.training.task.Task`."""
        return import_target(self.task_name)()

    @property
    def copy_unknown(self) -> bool:
        """Whether the words of a source that the vocabulary lacks get ids of their own."""
        return False

    @property
    def tokenizer_folders(self) -> list[str]:
        """Name the folders of a run that hold its tokenizers, or other codecs."""
        return ["src_tokenizer", "tgt_tokenizer"]

    def taken_tokenizers(self, old: DataConfig) -> list[str]:
        """Name the folders that are taken over from a run of this or another data section."""
        return self.tokenizer_folders

    @property
    def prefetch_steps(self) -> int:
        """Steps prepared ahead in a background thread; mostly a field."""
        return 8

    @property
    def memory_advice(self) -> str:
        """What to change where a step takes too much memory."""
        return "choose smaller micro-steps or a smaller model"

    @classmethod
    def recognizes_path(cls, path: str) -> bool:
        """Tell whether a training corpus without a `kind` is known to be of this section by its path."""
        return False

    def valid_metrics(self) -> list[str]:
        """List what a checkpoint can be judged by."""
        return ["nll", *self.own_metrics]

    def of_fold(self, number: int, num_folds: int) -> Self:
        """Return the section that validates on one of some folds, from 1; raises ValueError where there are none."""
        raise ValueError(f"`data.kind: {self.kind}` cannot be divided into folds.")

    def names(self) -> tuple[str, ...]:
        """Return the path specs that a run is named by where it is given no name."""
        return tuple(self._specs(name)[0] for name in self.path_fields if name.startswith("train"))

    def input_specs(self) -> list[str]:
        """Return the path specs of all corpora."""
        return [spec for name in self.path_fields for spec in self._specs(name)]

    def column_of(self, spec: str) -> str | None:
        """Return the column that a path spec names, which must stay when a run is continued; None for none."""
        from seqlab.data.columns import parse_column  # which needs numpy

        return parse_column(spec).column

    def _specs(self, name: str) -> list[str]:
        specs: list[str] = _as_list(getattr(self, name))
        return specs

    def requested_sizes(self) -> dict[str, int | None]:
        """Return the size that each vocabulary is to have, by the folder of its tokenizer; None for no limit."""
        return {}

    def vector_files(self) -> dict[str, str]:
        """Return the files of word vectors by side."""
        return {}


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TokensConfig(DataConfig):
    """The base of sections whose corpora are columns of text, and whose steps are counted in tokens."""

    split_fields: ClassVar[tuple[str, ...]] = ()
    """The fields that decide what is held out of the training corpora."""
    encoding_fields: ClassVar[tuple[str, ...]] = ()
    """The other fields that decide how the corpora are encoded."""
    keeps_valid_text: ClassVar[bool] = True
    """Whether the raw text of the validation set is kept beside its ids."""
    max_line_bytes: Count | None = MAX_LINE_BYTES
    """Bytes of the longest line that is read: a longer one is refused, as memory grows with it. Null is no limit. Rows
    of tables may have 16 MiB, and the lines of a continuous text, which are read in parts, any size."""

    if TYPE_CHECKING:  # fields of all of them, whose place in files they choose
        tokenizer: TokenizerConfig
        batch_tokens: int
        micro_batch_tokens: int

    @property
    def tokenizers(self) -> tuple[TokenizerConfig, TokenizerConfig]:
        """How source and target become ids; text without a second side is a target."""
        raise NotImplementedError

    @property
    def needs_text(self) -> bool:
        """Whether training reads the text itself, and not only its ids."""
        return False

    @property
    def is_continuous(self) -> bool:
        """Whether all lines are one text, in which empty ones count."""
        return False

    @property
    def line_limit(self) -> LineLimit:
        """The longest line of the corpora."""
        from seqlab.base.raw_lines import LineLimit

        if self.is_continuous and self.max_line_bytes is not None:
            # Where lines are divided decides what is validated on: it is the same for every limit.
            return LineLimit(MAX_LINE_BYTES, splits_lines=True)
        return LineLimit(self.max_line_bytes, option="`data.max_line_bytes`")

    def corpora(self, split: str) -> list[Corpus]:
        """Give the corpora of `train`, `valid` or `test`, or the `references` of the validation set after the first.

        Raises:
            FileNotFoundError, ValueError: a path spec names no corpus.
        """
        raise NotImplementedError

    def hold_out(self, train: Sequence[Survey]) -> HeldOut:
        """Choose what is held out of the training corpora; raises ValueError where they are too small."""
        raise NotImplementedError

    def encoder(self, tokenizers: Sequence[Tokenizer]) -> RowEncoder:
        """Return what encodes blocks of rows, given the tokenizers of source and target."""
        raise NotImplementedError

    @property
    def memory_advice(self) -> str:
        """What to change where a step takes too much memory."""
        return f"lower `data.micro_batch_tokens` (now {self.micro_batch_tokens}) or the model's size"

    @model_validator(mode="after")
    def _check_tokenizer(self) -> Self:
        self.tokenizer.check_not_target_only()
        return self
