"""What training asks of a kind of data: how it is prepared, read in steps and validated on."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from seqlab.base.world import World
from seqlab.data.batch import Batch
from seqlab.data.step import Position, TrainingStep
from seqlab.data.survey import OnProgress
from seqlab.models.interfaces import Scorer
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.training.validation import RunInTraining, Validation

Codecs = tuple[Any, Any]
"""Those of the source and of the target, one object where the data has one side or a joint vocabulary. Of text they
are each a `Tokenizer`."""


class Task:
    """The base of each task; its data section names it (`DataConfig.task_name`)."""

    batch_type: ClassVar[type]
    """The class of the batches."""
    unit: ClassVar[str] = "rows"
    """What the rows of a batch are, in messages."""
    needs: ClassVar[tuple[type, ...]] = (Scorer,)
    """The protocols of models whose methods validation calls."""
    decodes: ClassVar[bool] = False
    """Whether validation decodes by `training.valid_search`."""

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: OnProgress) -> dict[str, int]:
        """Learn the codecs from the training corpora and write them: the sizes of vocabularies by folder.

        A tokenizer's folder is one of `DataConfig.tokenizer_folders`; others are written by
        `seqlab.runs.codecs.save_codec`.
        """
        raise NotImplementedError

    def complete_codecs(self, config: Config, folder: RunFolder, on_progress: OnProgress) -> None:
        """Add what goes with the codecs and is not there, whether they were learnt or taken over from a run."""

    def prepare(self, config: Config, codecs: Codecs, cache: Path, on_progress: OnProgress | None) -> Any:
        """Encode the corpora into `cache`; without `on_progress` open what another process has encoded.

        Returns the prepared data, with its `report` (`lines()`, `to_json()`), the `content_hashes` of its files, and
        `train` and `valid`.
        """
        raise NotImplementedError

    def steps(
        self, data: Any, config: Config, codecs: Codecs, world: World, after: Position | None
    ) -> Iterator[TrainingStep[Batch]]:
        """Yield this rank's part of the steps that follow a position, from the beginning where it is None."""
        raise NotImplementedError

    def count(self, run: RunInTraining) -> Iterator[str]:
        """Fit a model that is counted to the training corpus; yield lines for the log."""
        raise ValueError(f"`model.family: {run.config.model.family}` cannot be counted on such data.")

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        """Validate some weights; training's own model and generators are left alone."""
        raise NotImplementedError

    def answers(self, run_dir: Path) -> Iterator[dict[str, Any]]:
        """Yield the prediction for each validation example, for JSON; nothing unless the task defines it."""
        yield from ()

    def fold_scores(self, answers: Sequence[dict[str, Any]]) -> dict[str, float] | None:
        """Measure the answers for a held-out fold; None where folds are measured by their validation."""
        return None

    def locate(self, data: Any, index: int) -> str:
        """Name the file and the line that a row of a batch, by its index, came from."""
        location: str = data.train.locate(index)
        return location

    def describe(self, data: Any) -> dict[str, Any]:
        """Return what run.json notes of the data besides the report."""
        return {}
