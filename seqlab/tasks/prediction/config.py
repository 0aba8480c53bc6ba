"""Data config of the prediction task: tables, arrays, images or time series, their targets, folds and augmentation."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from seqlab.base.bounds import MAX_COUNT, Count, CountOrZero, NonNegative
from seqlab.base.config_class import dataclass
from seqlab.data.arrays import ChannelAxis, Layout, is_array_path, source_to_hash
from seqlab.data.colors import check_ground
from seqlab.data.config import SETTINGS, DataConfig, PathSpecs
from seqlab.data.folds import FoldKind
from seqlab.data.tables import table_kind

PREDICTOR = "a predictor"
"""`DataConfig.model_noun` of the task."""
Predicts = Literal["numbers", "class", "labels"]
"""Kind of target: numbers, exactly one class, or any number of labels."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class PredictionConfig(DataConfig):
    """Table rows, images or windows of a time series, with numbers, classes or labels as targets."""

    kind: Literal["prediction"] = "prediction"
    """Kind of data."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "nll"}
    task_name: ClassVar[str] = "seqlab.tasks.prediction.task:PredictionTask"
    loader_name: ClassVar[str] = "seqlab.tasks.prediction.example_predictor:load_predictor"
    zero_config_name: ClassVar[str] = "seqlab.tasks.prediction.zero_config:from_examples"
    model_noun: ClassVar[str] = PREDICTOR
    usage_hint: ClassVar[str] = "predicts numbers, classes or labels: use `seqlab predict`"
    next_command: ClassVar[str] = "seqlab predict {} < FILE"
    rows_name: ClassVar[str] = "examples"
    identifying_fields: ClassVar[tuple[str, ...]] = ("target", "predicts")
    path_fields: ClassVar[tuple[str, ...]] = ("train", "valid", "test")

    train: Annotated[PathSpecs, Field(min_length=1)]
    """Training data: tables (.csv, .tsv, .jsonl, .json, .parquet) with the same columns, arrays (.npz), or folders of
    images with one subfolder per class."""

    valid: str | None = None
    """Validation data; by default, a part of the training data is held out (`valid_fraction`)."""

    test: PathSpecs = Field(default_factory=list)
    """Test data; not used in training."""

    target: PathSpecs = Field(default_factory=list)
    """Columns to predict; in an .npz file the array of targets, `y` by default."""

    predicts: Predicts = "numbers"
    """Kind of target: `numbers`; one `class`, given by its name, or by one column of probabilities per class; or any
    number of `labels`, separated by spaces, or given by one column of 0 and 1 per label."""

    missing_targets: Literal["refuse", "class"] = "refuse"
    """Cells such as `NaN`, `NA`, `null` or `?` in a column of classes or labels: `refuse` them as missing values, or
    read them as a `class`."""

    inputs: PathSpecs = Field(default_factory=list)
    """Columns to read; by default all but the targets. In an .npz file the array of inputs, `x` by default."""

    categorical: PathSpecs = Field(default_factory=list)
    """Columns to read as categories, whatever their cells are: numbers of products, dates."""

    layout: Layout = "images"
    """Content of an array with three dimensions: `images` of one channel, or `frames`: sequences of vectors."""

    channels: ChannelAxis | None = None
    """Position of the channels in an array with four dimensions: `last` (examples, height, width, channels) or `first`
    (examples, channels, height, width); by default inferred from the shape."""

    ground: Annotated[str, BeforeValidator(check_ground)] = "white"
    """Color behind transparent images: `white`, `black`, `gray` or `#rrggbb`."""

    window: CountOrZero = 0
    """Number of successive rows per example of a time series, with rows in time order; 0 for independent rows."""

    ahead: Count = 1
    """Forecast horizon of a time series: the target is this many rows after the window. Targets may also be inputs."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training data held out for validation if neither `valid` nor `valid_fold` is given; the last rows of
    a time series."""

    num_folds: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 10
    """Number of cross-validation folds, if `valid_fold` is given."""

    valid_fold: Count | None = None
    """Number of the fold used for validation, from 1; null uses no folds."""

    folds: FoldKind | None = None
    """Assignment of rows to folds: at random (`plain`), with equal class shares (`stratified`, the default for
    classes), keeping rows with the same value of `fold_column` together (`grouped`), or one fold per value of
    `fold_column` (`given`)."""

    fold_column: str | None = None
    """Column of groups or of folds; it is not an input."""

    fold_seed: CountOrZero = 1
    """Seed of the assignment to folds, independent of `seed`."""

    augment_shift: CountOrZero = 0
    """Maximum random shift of training images in each direction, in pixels."""

    augment_rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Maximum random rotation of training images in either direction, in degrees."""

    augment_noise: NonNegative = 0.0
    """Standard deviation of Gaussian noise added to training inputs, which have a standard deviation of 1."""

    augment_mixup: NonNegative = 0.0
    """Parameter alpha of mixup (Zhang et al. 2018): training interpolates the inputs and targets of two examples by a
    weight from Beta(alpha, alpha). 0 disables it, 0.2 mixes a little, 1 draws uniform weights."""

    batch_rows: Count = 64
    """Examples per step, over all ranks and micro-steps."""

    micro_batch_rows: Count = 1024
    """Maximum number of examples per micro-step."""

    @property
    def tokenizer_folders(self) -> list[str]:
        """Empty: a run has no tokenizer."""
        return []

    @property
    def augments(self) -> bool:
        """Whether training augments the examples."""
        return any((self.augment_shift, self.augment_rotation, self.augment_noise, self.augment_mixup))

    @property
    def memory_advice(self) -> str:
        """Advice for a step that runs out of memory."""
        return f"lower `data.micro_batch_rows` (now {self.micro_batch_rows}) or the model's size"

    @classmethod
    def recognizes_path(cls, path: str) -> bool:
        """Return whether a path names arrays, images or a table, without a column."""
        return is_array_path(Path(path).expanduser()) or table_kind(Path(path)) is not None

    def valid_metrics(self) -> list[str]:
        """Return the validation metrics that can select the best checkpoint."""
        return ["nll", *METRICS_BY_TARGET[self.predicts]]

    def input_specs(self) -> list[Any]:
        """Return the input files, for hashing."""
        return [source_to_hash(spec) for name in self.path_fields for spec in self._specs(name)]

    def for_fold(self, number: int, num_folds: int) -> "PredictionConfig":
        """Return a copy that validates on one fold of the training data, numbered from 1."""
        if self.valid is not None:
            raise ValueError("Folds are parts of the training data: remove `data.valid`.")
        if self.window:
            raise ValueError(
                "A time series (`data.window`) has no folds: validation uses its end (`data.valid_fraction`)."
            )
        return replace(self, num_folds=num_folds, valid_fold=number)

    def check_folds(self, num_folds: int) -> list[str]:
        """Check the division of the rows into folds; return warnings of equal rows and of groups in several folds."""
        from seqlab.tasks.prediction.validation_rows import check_folds

        return check_folds([self.for_fold(number, num_folds) for number in range(1, num_folds + 1)])

    def column_of(self, spec: str) -> str | None:
        """Return None: the paths of this task name no columns."""
        return None

    @property
    def fold_kind(self) -> FoldKind:
        """Assignment of rows to folds: `folds` or its default."""
        return self.folds or ("stratified" if self.predicts == "class" else "plain")

    @model_validator(mode="after")
    def _check(self) -> "PredictionConfig":
        if self.folds in ("grouped", "given") and self.fold_column is None:
            raise ValueError(f"`folds: {self.folds}` needs a column with groups or folds: set `fold_column`.")
        if self.fold_column is not None and self.folds not in ("grouped", "given"):
            raise ValueError("`fold_column` requires `folds: grouped` or `folds: given`: set one of them.")
        for field, names in (("inputs", self.inputs), ("target", self.target)):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"`{field}` names {name!r} {names.count(name)} times: name it once.")
        if self.fold_column in self.inputs:
            raise ValueError(f"`inputs` and `fold_column` both name {self.fold_column!r}: a fold cannot be an input.")
        if self.folds == "stratified" and self.predicts != "class":
            raise ValueError(f"`folds: stratified` needs `predicts: class`, but it is `{self.predicts}`.")
        if self.valid_fold is not None and self.valid is not None:
            raise ValueError("`valid` and `valid_fold` both choose the validation data: leave one of them out.")
        if self.valid_fold is not None and self.folds != "given" and self.valid_fold > self.num_folds:
            raise ValueError(f"`valid_fold` ({self.valid_fold}) must be at most `num_folds` ({self.num_folds}).")
        if shared := sorted(set(self.target) & set(self.inputs)) if not self.window else []:
            raise ValueError(f"`target` and `inputs` both name {shared[0]!r}: a target cannot be an input.")
        if not self.window and self.ahead != 1:
            raise ValueError("`ahead` is for time series: set `window`, or leave out `ahead`.")
        if self.window and self.valid_fold is not None:
            raise ValueError("A time series (`window`) has no folds: validation uses its end (`valid_fraction`).")
        return self


METRICS_BY_TARGET: dict[str, tuple[str, ...]] = {
    "numbers": ("rmse", "mae", "r2"),
    "class": ("accuracy", "macro_f1"),
    "labels": ("micro_f1", "label_macro_f1", "exact_match"),
}
"""Kind of target -> validation metrics besides the loss."""
