"""The base of the `data` section of each task, and what sections of corpora with two sides have in common."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from seqlab.registry import OWN, Part, default_part, entries, imported
from seqlab.text import Tokenizer, TokenizerConfig


def _as_list(value: Any) -> Any:
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


if TYPE_CHECKING:
    from seqlab.data.encode import Encoder

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Of the dataclasses that are data sections."""
PathSpecs = Annotated[list[str], BeforeValidator(_as_list)]
"""One path spec or several: `file`, `file#column` or a dataset's name, see `seqlab.data.columns.parse_column`."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class DataConfig(Part):
    """The base of the data section of each task."""

    part_kind: ClassVar[str] = "task"
    tag_field: ClassVar[str] = "kind"
    defaults: ClassVar[dict[str, str | float]] = {}
    """What fields of other sections are where they are left out, by dotted key."""
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
    rows_name: ClassVar[str] = "lines"
    """What an example is called where they are counted."""
    named_by: ClassVar[tuple[str, ...]] = ()
    """Fields of this section alone, by which a corpus without a `kind` is known to be of it."""
    num_sides: ClassVar[int] = 2
    """Sides of an example that have codecs."""
    src_special_ids: ClassVar[int] = 0
    """Special ids that are added to each source."""
    kind: str

    @property
    def task(self) -> Any:
        """What trains on such data: a `seqlab.training.task.Task`."""
        return imported(self.task_name)()

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

    def valid_metrics(self) -> list[str]:
        """List what a checkpoint can be judged by."""
        return ["nll", *self.own_metrics]

    def names(self) -> tuple[str, ...]:
        """Return the path specs that a run is named by where it is given no name."""
        return tuple(self._specs(name)[0] for name in self.path_fields if name.startswith("train"))

    def input_specs(self) -> list[str]:
        """Return the path specs of all corpora."""
        return [spec for name in self.path_fields for spec in self._specs(name)]

    def _specs(self, name: str) -> list[str]:
        specs: list[str] = _as_list(getattr(self, name))
        return specs

    def wanted_sizes(self) -> dict[str, int | None]:
        """Return the size that each vocabulary is to have, by the folder of its tokenizer; None for no limit."""
        return {}

    def vector_files(self) -> dict[str, str]:
        """Return the files of word vectors by side."""
        return {}


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TokensConfig(DataConfig):
    """The base of sections whose steps are counted in tokens."""

    if TYPE_CHECKING:  # fields of all of them, whose place in files they choose
        tokenizer: TokenizerConfig
        batch_tokens: int
        micro_batch_tokens: int

    @property
    def memory_advice(self) -> str:
        """What to change where a step takes too much memory."""
        return f"lower `data.micro_batch_tokens` (now {self.micro_batch_tokens}) or the model's size"

    @model_validator(mode="after")
    def _check_tokenizer(self) -> Self:
        self.tokenizer.check_alone()
        return self


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class PairsConfig(TokensConfig):
    """Corpora of two sides, line by line: what all kinds of them have in common."""

    path_fields: ClassVar[tuple[str, ...]] = (
        *("train_src", "train_tgt", "test_src", "test_tgt", "valid_src", "valid_tgt"),
    )

    train_src: Annotated[PathSpecs, Field(min_length=1)]
    """Source sides of the training corpora: `file` (text, plain or .gz), `file#column` (.tsv, .jsonl, .csv, .json,
    .parquet, .arrow, .conllu), or a column of a dataset that `datasets` loads by its name on the Hugging Face hub or by
    the path of a folder, `hub:NAME[@REVISION][:CONFIG]:SPLIT#COLUMN`. Several corpora are a list."""

    train_tgt: Annotated[PathSpecs, Field(min_length=1)]
    """Target sides of the training corpora, in the same order: translations, or labels."""

    train_weights: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=list)
    """How many times each pair of a corpus is seen per epoch: 2.5 is twice, and a third time for a new random half in
    every epoch. One number per corpus; all 1 when left out."""

    valid_src: str | None = None
    """Source side of the validation set; when left out, one is split off the training corpora."""

    valid_tgt: PathSpecs = Field(default_factory=list)
    """Target side of the validation set. Several are references of the same sources: the loss is measured against the
    first, and the metrics of what is decoded take the further ones too, in which an empty line says that a source has
    no such reference."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the different training sources that is split off for validation where there is no validation set."""

    valid_fold: Annotated[int, Field(ge=1)] | None = None
    """Which of the parts of this size, from 1: with a `valid_fraction` of 0.1 the folds 1 to 10 are a cross-validation
    of ten runs, in which each source is validated on once."""

    valid_max_pairs: Annotated[int, Field(ge=1)] = 1000
    """Pairs split off for validation at most, where no fold is named."""

    test_src: PathSpecs = Field(default_factory=list)
    """Source sides of test sets. They are never trained on nor decoded: the data report counts how much of them the
    training corpora hold."""

    test_tgt: PathSpecs = Field(default_factory=list)
    """Target sides of the test sets, in the same order."""

    vectors_src: str | None = None
    """File of word vectors that the source embeddings start from, as word2vec or GloVe write it, text or binary, plain
    or .gz; they are scaled to the size of the random start, which tokens without a vector keep."""

    tokenizer: TokenizerConfig = Field(default_factory=lambda: default_part("tokenizer")())
    """How text becomes ids."""

    max_length: Annotated[int, Field(ge=1)] = 256
    """Tokens of the longest side that is kept, without the end of sentence."""

    chunk_pairs: Annotated[int, Field(ge=1)] = 131_072
    """Pairs shuffled, sorted by length and cut into steps together: memory grows with it."""

    prefetch_steps: Annotated[int, Field(ge=0)] = 8
    """Steps prepared ahead in a background thread; 0 prepares each when it is asked for."""

    def train_specs(self) -> list[str]:
        """Return the path specs of the training corpora."""
        return [*self.train_src, *self.train_tgt]

    def valid_metrics(self) -> list[str]:
        """List what a checkpoint can be judged by, registered metrics of lines included."""
        return [*super().valid_metrics(), *(entry.name for entry in entries("metric") if entry.owner != OWN)]

    @property
    def tokenizers(self) -> tuple[TokenizerConfig, TokenizerConfig]:
        """How source and target become ids."""
        raise NotImplementedError

    @property
    def joint_vocabulary(self) -> bool:
        """Whether source and target share one tokenizer."""
        return False

    @property
    def subword_sampling(self) -> float:
        """Strength of the random segmentations seen in training; 0 is off."""
        return 0.0

    @property
    def max_length_ratio(self) -> float:
        """How many times a pair's ratio of target to source characters may differ from the corpus's own."""
        return math.inf

    @property
    def needs_text(self) -> bool:
        """Whether training reads the text itself, and not only its ids."""
        return True

    @property
    def labels_of(self) -> str | None:
        """What has a label: `lines` or `words`; None where targets are no labels."""
        return None

    def encoder(self, src_tokenizer: Tokenizer, tgt_tokenizer: Tokenizer) -> Encoder:
        """Return what encodes blocks of pairs."""
        from seqlab.data.encode import Encoder  # which needs numpy

        return Encoder(src_tokenizer, tgt_tokenizer, self.max_length, self.max_length_ratio, self.copy_unknown)

    def wanted_sizes(self) -> dict[str, int | None]:
        """Return the size that each vocabulary is to have, by the folder of its tokenizer; None for no limit."""
        return {name: each.wanted_size for name, each in zip(self.tokenizer_folders, self.tokenizers, strict=False)}

    @model_validator(mode="after")
    def _check_corpora(self) -> Self:
        for split in ("train", "test"):
            src, tgt = getattr(self, f"{split}_src"), getattr(self, f"{split}_tgt")
            if len(src) != len(tgt):
                raise ValueError(
                    f"`{split}_src` and `{split}_tgt` need a file each per corpus, but have {len(src)} and {len(tgt)}."
                )
        if set(self.train_weights) <= {1.0}:  # left out, perhaps for another number of corpora
            object.__setattr__(self, "train_weights", [1.0] * len(self.train_src))  # the config is frozen from here on
        if len(self.train_weights) != len(self.train_src):
            raise ValueError(
                f"`train_weights` needs one number per corpus ({len(self.train_src)}), but has "
                f"{len(self.train_weights)}."
            )
        if (self.valid_src is None) != (not self.valid_tgt):
            given, missing = ("tgt", "src") if self.valid_src is None else ("src", "tgt")
            raise ValueError(f"`valid_{given}` is given, so `valid_{missing}` is needed too.")
        return self

    @model_validator(mode="after")
    def _check_fold(self) -> Self:
        if self.valid_fold is None:
            return self
        if self.valid_src is not None:
            raise ValueError("`valid_fold` splits a validation set off, but `valid_src` names one: leave it out.")
        if self.valid_fold > math.floor(1 / self.valid_fraction + 1e-9):
            raise ValueError(
                f"`valid_fold` ({self.valid_fold}) must be one of the parts that `valid_fraction` "
                f"({self.valid_fraction}) makes: at most {math.floor(1 / self.valid_fraction + 1e-9)}."
            )
        return self


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TextConfig(TokensConfig):
    """Text without a second side: the fields of each task on it."""

    num_sides: ClassVar[int] = 1
    path_fields: ClassVar[tuple[str, ...]] = ("train", "valid")

    train: Annotated[PathSpecs, Field(min_length=1)]
    """Training corpora: `file` (text, plain or .gz), `file#column` (.tsv, .jsonl, .csv, .json, .parquet, .arrow), or a
    column of a dataset that `datasets` loads by its name on the Hugging Face hub or by the path of a folder,
    `hub:NAME[@REVISION][:CONFIG]:SPLIT#COLUMN`, such as `hub:Salesforce/wikitext:wikitext-2-v1:train#text`."""

    valid: PathSpecs = Field(default_factory=list)
    """Validation corpora; when left out, a part of the training corpora is split off."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the lines that is split off for validation where there is no validation corpus: the last ones of a
    continuous text, and of single lines those of some sources, so that no copy of one stays behind."""

    documents: Literal["lines", "continuous"] = "lines"
    """What the model sees as one: each line by itself, which begins with bos and ends with eos, or all lines of the
    corpora as one text, in which eos stands for the end of a line. A record of a table is a line; one that has newlines
    is several in a continuous text, and otherwise they become spaces."""

    tokenizer: TokenizerConfig = Field(default_factory=lambda: default_part("tokenizer")())
    """How text becomes ids."""

    block_length: Annotated[int, Field(ge=2)] = 256
    """Tokens that are seen together: a longer line, and a continuous text, is cut into blocks of this many, a shorter
    text is one shorter block. With `order: contiguous` the time steps that gradients flow back through."""

    order: Literal["shuffled", "contiguous"] = "shuffled"
    """How a continuous text is read: blocks in random order, or in the order of the text, as many at a time as fit into
    a step, each with the state that the block before it left behind (truncated backpropagation through time; for
    recurrent models)."""

    vary_block_length: bool = False
    """With `order: contiguous`, whether each step draws a length of its own, so that gradients are not always cut off
    at the same places: about `block_length`, in one step of twenty half of it, normally distributed around that with a
    standard deviation of 5, and 5 at least. The learning rate of the step is multiplied by its length over
    `block_length` (Merity et al. 2018)."""

    mask_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the tokens that a masked model is to fill in, from what stands on both sides of them: 0.15 in BERT
    (Devlin et al. 2019). 0 is for models that predict every token from those before it."""

    vectors: str | None = None
    """File of word vectors that the embeddings start from, as word2vec or GloVe write it, text or binary, plain or .gz;
    they are scaled to the size of the random start, which tokens without a vector keep."""

    packing: bool = False
    """Whether lines are put one behind the other into rows of `block_length`, none of which sees another, instead of
    being padded to the longest of their micro-step: for lines of very different lengths."""

    batch_tokens: Annotated[int, Field(ge=1)] = 8192
    """Predicted tokens per step, of masked text those that are read, over all ranks: the average, as steps are whole
    blocks or lines."""

    micro_batch_tokens: Annotated[int, Field(ge=1)] = 4096
    """Padded tokens per micro-step at most; a longer block is one of its own. Memory and speed depend on it."""

    chunk_lines: Annotated[int, Field(ge=1)] = 131_072
    """Lines shuffled, sorted by length and cut into steps together: memory grows with it."""

    prefetch_steps: Annotated[int, Field(ge=0)] = 8
    """Steps prepared ahead in a background thread; 0 prepares each when it is asked for."""

    def train_specs(self) -> list[str]:
        """Return the path specs of the training corpora."""
        return self.train

    @property
    def tokenizer_folders(self) -> list[str]:
        """Name the folder of a run that holds its tokenizer."""
        return ["tokenizer"]

    def wanted_sizes(self) -> dict[str, int | None]:
        """Return the size that each vocabulary is to have, by the folder of its tokenizer; None for no limit."""
        return {"tokenizer": self.tokenizer.wanted_size}

    def vector_files(self) -> dict[str, str]:
        """Return the file of word vectors, under the side that text stands on, that of a target."""
        return {} if self.vectors is None else {"tgt": self.vectors}

    @model_validator(mode="after")
    def _check(self) -> TextConfig:
        if self.order == "contiguous" and self.documents != "continuous":
            raise ValueError(
                "`order: contiguous` carries a model's state through a text, but with `documents: lines` each line is "
                "a text of its own: set `documents: continuous` or `order: shuffled`."
            )
        if self.vary_block_length and self.order != "contiguous":
            raise ValueError("`vary_block_length` is for `order: contiguous`: set that, or leave it out.")
        if self.packing and self.documents != "lines":
            raise ValueError("`packing` is for `documents: lines`: a continuous text has no lines to pack.")
        if self.mask_share and (self.packing or self.order == "contiguous"):
            name = "packing: true" if self.packing else "order: contiguous"
            raise ValueError(f"`{name}` is for text that is read from left to right: with `mask_share` leave it out.")
        return self
