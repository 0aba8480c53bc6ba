"""Base class of tasks: data preparation, training steps and validation for one kind of data."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from seqlab.base.world import World
from seqlab.data.batch import Batch, TextLayout
from seqlab.data.step import Position, TrainingStep
from seqlab.data.survey import PreparationProgress
from seqlab.evaluation.metrics import METRICS, line_statistics
from seqlab.inference.scorer import Scorer
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.search.protocols import missing_methods
from seqlab.search.search import select_search
from seqlab.training.validation import RunInTraining, Validation
from seqlab.training.vector_initialization import EmbeddingModel

Split = Literal["train", "valid"]
Codecs = tuple[Any, Any]
"""Source and target codec: the same object for a joint vocabulary or data without separate sources and targets. The
codec of text is a `Tokenizer`."""
OutputKind = Literal["text", "label", "labels of words", "set of labels", "numbers"]
"""What a line of output holds: a text, one label, a label for each word, any number of labels, or numbers."""


def rows_of(data: Any, split: Split) -> Any:
    """Return the rows of a split of prepared data."""
    return data.train if split == "train" else data.valid


class Task:
    """Base class of tasks. A data config names its task (`DataConfig.task_name`)."""

    batch_type: ClassVar[type]
    """Class of the batches."""
    unit: ClassVar[str] = "rows"
    """Plural noun for the rows of a batch in messages; not the unit of the loss."""
    needs: ClassVar[tuple[type, ...]] = (Scorer,)
    """Model protocols with the methods that validation calls."""
    decodes: ClassVar[bool] = False
    """Whether validation decodes with `training.valid_search`."""

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> dict[str, int]:
        """Train the codecs on the training corpora and write them; return the vocabulary size by folder.

        Tokenizers go into `DataConfig.tokenizer_folders`; `seqlab.runs.codecs.save_codec` writes other codecs.
        """
        raise NotImplementedError

    def complete_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> None:
        """Write missing files of the codecs, after these were trained or copied from another run."""

    def prepare(self, config: Config, codecs: Codecs, cache: Path, on_progress: PreparationProgress | None) -> Any:
        """Encode the corpora into `cache`; without `on_progress`, open the cache that another process wrote.

        Returns the prepared data: an object with `report` (`lines()`, `to_json()`), `content_hashes` of its files,
        `train` and `valid`, and possibly `reading` (`ReadingNotes`).
        """
        raise NotImplementedError

    def steps(
        self, data: Any, config: Config, codecs: Codecs, world: World, after: Position | None
    ) -> Iterator[TrainingStep[Batch]]:
        """Yield this rank's micro-steps of each step after the position `after`; None starts at the first step.

        The rows of a step depend on the seed and the position only. Rows that depend on the weights, such as the
        episodes of an agent, are named by their numbers: the objective makes them (`CollectingObjective.collect`).
        """
        raise NotImplementedError

    def split_batches(self, data: Any, config: Config, codecs: Codecs, split: Split) -> Iterator[Batch]:
        """Yield each row of a split once, in batches of a fixed order, without augmentation.

        A row of the training split has the same index as in the batches of `steps`. The default yields nothing: the
        experiments of `seqlab.diagnosis` then use the batches of `steps`, and leave out the validation rows.
        """
        yield from ()

    def count(self, run: RunInTraining) -> Iterator[str]:
        """Fit a count-based model to the training corpus; yield lines for the log."""
        raise ValueError(
            f"`model.family: {run.config.model.family}` is count-based, which this kind of data does not support."
        )

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        """Validate the given weights. The model that is trained and the random generators stay unchanged."""
        raise NotImplementedError

    def constant_scores(self, run: RunInTraining) -> dict[str, float] | None:
        """Return the scores of a prediction that ignores the inputs, by metric; None, the default, if unknown.

        Such a prediction is the most frequent label, or the mean. A training warns if its validation is no better.
        """
        return None

    def validation_predictions(self, run_dir: Path) -> Iterator[dict[str, Any]]:
        """Yield the prediction for each validation example, for JSON; the default yields nothing."""
        yield from ()

    def output_kind(self, config: Config) -> OutputKind:
        """Return what predictions and targets of `validation_predictions` hold; reports analyze them accordingly."""
        return "text"

    def sample_outputs(self, run_dir: Path, checkpoint: str, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the outputs of a checkpoint for some validation examples, for reports; the default yields nothing.

        Args:
            run_dir: the run folder.
            checkpoint: `best`, `last` or a step number.
            rows: indices among the records of `validation_predictions`.

        Yields:
            Records of `validation_predictions`. A translator with attention adds `pieces`: for each segment of the
            source its tokens `src`, the output tokens `tgt` and their attention `weights` (T, S).
        """
        yield from ()

    def training_texts(self, run_dir: Path) -> Iterator[str]:
        """Yield the training texts whose words a report counts: targets of text, sources of labels of words.

        The default yields nothing: then outputs are not grouped by the frequency of their words.
        """
        yield from ()

    def fold_scores(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float] | None:
        """Score the predictions for a held-out fold; None, the default, to use the validation scores of the run."""
        return None

    def locate(self, data: Any, index: int) -> str:
        """Return the location (file and line) of a row of a batch, given the row's index."""
        location: str = data.train.locate(index)
        return location

    def describe(self, data: Any) -> dict[str, Any]:
        """Return entries about the data for run.json, in addition to the report."""
        return {}


LAYOUT_SETTINGS: dict[TextLayout, tuple[str, str]] = {
    "packed": ("data.packing: true", "set `data.packing` to false"),
    "contiguous": ("data.order: contiguous", "set `data.order: shuffled`"),
}
"""Layout of a text -> setting that chooses it, and advice for another one."""


def check_layout(config: Config) -> None:
    """Raise ValueError if the model or the objective does not declare that it supports the layout of the data.

    This is a check of training, not of configs: an older run of such a part can still be loaded.
    """
    layout = config.data.text_layout
    model, objective = config.model, config.objective
    for section, part, member, declared in (
        ("model", model, "abilities", model.abilities),
        ("objective", objective, "text_layouts", objective.text_layouts),
    ):
        if layout is not None and layout not in declared:
            setting, advice = LAYOUT_SETTINGS[layout]
            raise ValueError(
                f"`{setting}` needs a model and an objective that support {layout} rows, but `{section}.family: "
                f"{part.family}` does not declare this: {advice}, or add {layout!r} to `{member}` of "
                f"{type(part).__name__} if it does (`seqlab.testing.check_{section}` tests it)."
            )


def check_model(model: Any, config: Config, task: Task) -> None:
    """Check before training that a model has each method that its objective and its validation call.

    Raises:
        ValueError: a method is missing, the search does not fit the model, or the metric cannot be computed.
    """
    callers = {
        f"`objective.family: {config.objective.family}`": config.objective.needs,
        "its validation": task.needs,
        "starting from word vectors": (EmbeddingModel,) if config.data.vector_files() else (),
    }
    for caller, protocols in callers.items():
        for protocol in protocols:
            if missing := missing_methods(model, protocol):
                raise ValueError(
                    f"`model.family: {config.model.family}` cannot be trained: {caller} needs the methods of "
                    f"the protocol `{protocol.__name__}` (`{protocol.__module__}`), but {type(model).__name__} lacks "
                    f"{', '.join(missing)}."
                )
    if task.decodes:
        select_search(model, config.training.valid_search)
        if (metric := config.training.valid_metric) in METRICS:
            try:  # the metric may need a package that is missing
                line_statistics(str(metric), ["a"], [["a"]])
            except ValueError as error:
                raise ValueError(f"`training.valid_metric: {metric}`: {error}") from None
