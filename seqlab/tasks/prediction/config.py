"""The `data` section of a predictor: tables, arrays, images or series, and what is predicted from them."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import MAX_COUNT, Count, CountOrZero, NonNegative
from seqlab.data.arrays import Layout, hashed_source, is_array_path
from seqlab.data.config import SETTINGS, DataConfig, PathSpecs
from seqlab.data.folds import FoldKind
from seqlab.data.tables import table_kind

PREDICTOR = "a predictor"
"""What a run is."""
Predicts = Literal["numbers", "class", "labels"]
"""Numbers, one class of several, or any number of several labels."""


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class PredictionConfig(DataConfig):
    """Examples of numbers and categories, images or windows of a series, and their targets."""

    kind: Literal["prediction"] = "prediction"
    """What the corpora hold."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "nll"}
    task_name: ClassVar[str] = "seqlab.tasks.prediction.task:Prediction"
    loader_name: ClassVar[str] = "seqlab.tasks.prediction.predictor:load_predictor"
    zero_config_name: ClassVar[str] = "seqlab.tasks.prediction.zero_config:from_examples"
    product: ClassVar[str] = PREDICTOR
    purpose: ClassVar[str] = "predicts numbers, classes or labels: use `seqlab predict`"
    next_command: ClassVar[str] = "seqlab predict {} < FILE"
    rows_name: ClassVar[str] = "examples"
    identifying_fields: ClassVar[tuple[str, ...]] = ("target", "predicts")
    path_fields: ClassVar[tuple[str, ...]] = ("train", "valid", "test")

    train: Annotated[PathSpecs, Field(min_length=1)]
    """Training data: tables (.csv, .tsv, .jsonl, .parquet) with the same columns, arrays (.npz), or folders of images
    with a folder for each class."""

    valid: str | None = None
    """Validation data; when left out, a part of the training data."""

    test: PathSpecs = Field(default_factory=list)
    """Test data, which training does not look at."""

    target: PathSpecs = Field(default_factory=list)
    """The column that is predicted, or several; in an .npz file the array, `y` unless given."""

    predicts: Predicts = "numbers"
    """What the targets are: numbers; one class of several, by its name or in a column of its probability for each; or
    any number of several labels, listed with spaces between or in a column of 0 and 1 for each."""

    inputs: PathSpecs = Field(default_factory=list)
    """The columns that are read; all others unless given. In an .npz file the array, `x` unless given."""

    categorical: PathSpecs = Field(default_factory=list)
    """Columns of numbers that are categories, as postal codes are."""

    layout: Layout = "images"
    """What an array of three dimensions holds: images of one channel, or sequences of vectors (`frames`)."""

    window: CountOrZero = 0
    """Of a series, whose rows are in the order of time: successive rows that an example consists of; 0 for single
    rows."""

    ahead: Count = 1
    """Of a series: how many rows after the window the target is. Targets may be inputs, too."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share that is held out where there are neither validation data nor folds; of a series, its end."""

    num_folds: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 10
    """Folds that the training data are divided into where `valid_fold` names one."""

    valid_fold: Count | None = None
    """The fold, from 1, that is validated on; null for none."""

    folds: FoldKind | None = None
    """How rows are dealt to folds: at random (`plain`), each with as much of each class (`stratified`, the default for
    classes), all rows with the same value of `fold_column` in one (`grouped`), or by its values (`given`)."""

    fold_column: str | None = None
    """The column of groups or of folds, which is no input."""

    fold_seed: CountOrZero = 1
    """What the folds are dealt by, whatever the seed of the run."""

    augment_shift: CountOrZero = 0
    """Of images: pixels that training moves them at most, at random, to each side."""

    augment_rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Of images: degrees that training turns them at most, at random, to each side."""

    augment_noise: NonNegative = 0.0
    """Standard deviation of the noise that training adds to each number, of which that of the data is 1."""

    augment_mixup: NonNegative = 0.0
    """How much training mixes each example with another one, inputs and targets alike (mixup, Zhang et al. 2018): both
    parameters of the beta distribution of the shares; 0 for no mixing, 0.2 for a little, 1 for any share alike."""

    batch_rows: Count = 64
    """Examples of a step, over all ranks and micro-steps."""

    micro_batch_rows: Count = 1024
    """Examples of a micro-step at most."""

    @property
    def augments(self) -> bool:
        """Whether training changes examples at random."""
        return any((self.augment_shift, self.augment_rotation, self.augment_noise, self.augment_mixup))

    @property
    def memory_advice(self) -> str:
        """What to change where a step takes too much memory."""
        return f"lower `data.micro_batch_rows` (now {self.micro_batch_rows}) or the model's size"

    @classmethod
    def recognizes_path(cls, path: str) -> bool:
        """Tell whether a path names arrays, images, or a table as a whole (a text is one of its columns)."""
        return is_array_path(Path(path).expanduser()) or table_kind(Path(path)) is not None

    def valid_metrics(self) -> list[str]:
        """List what a checkpoint can be judged by."""
        return ["nll", *METRICS[self.predicts]]

    def input_specs(self) -> list[Any]:
        """Return the files as wholes."""
        return [hashed_source(spec) for name in self.path_fields for spec in self._specs(name)]

    def of_fold(self, number: int, num_folds: int) -> "PredictionConfig":
        """Return the section that validates on one of some folds of the training data, from 1."""
        if self.valid is not None:
            raise ValueError("Folds are parts of the training data: remove `data.valid`.")
        if self.window:
            raise ValueError("A series (`data.window`) has no folds: its end is held out (`data.valid_fraction`).")
        return replace(self, num_folds=num_folds, valid_fold=number)

    def column_of(self, spec: str) -> str | None:
        """Return None: columns have fields of their own."""
        return None

    @property
    def fold_kind(self) -> FoldKind:
        """How rows are dealt to folds."""
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
            raise ValueError(f"`inputs` and `fold_column` both name {self.fold_column!r}: a fold is no input.")
        if self.folds == "stratified" and self.predicts != "class":
            raise ValueError(f"`folds: stratified` is for classes, not for `predicts: {self.predicts}`.")
        if self.valid_fold is not None and self.valid is not None:
            raise ValueError("`valid` and `valid_fold` both say what is validated on: leave one of them out.")
        if self.valid_fold is not None and self.folds != "given" and self.valid_fold > self.num_folds:
            raise ValueError(f"`valid_fold` ({self.valid_fold}) must be at most `num_folds` ({self.num_folds}).")
        if twice := sorted(set(self.target) & set(self.inputs)) if not self.window else []:
            raise ValueError(f"`target` and `inputs` both name {twice[0]!r}: what is predicted cannot be read.")
        if not self.window and self.ahead != 1:
            raise ValueError("`ahead` is for series: set `window`, or leave it out.")
        if self.window and self.valid_fold is not None:
            raise ValueError("A series (`window`) has no folds: its end is held out (`valid_fraction`).")
        return self


METRICS: dict[str, tuple[str, ...]] = {
    "numbers": ("rmse", "mae", "r2"),
    "class": ("accuracy", "macro_f1"),
    "labels": ("micro_f1", "label_macro_f1", "exact_match"),
}
"""What is measured in validation besides the loss, by what is predicted."""
