"""Predict numbers, classes or labels with trained runs: the class that `seqlab.load` returns for predictors."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.base.reading_notes import ReadingNotes
from seqlab.data.arrays import ArrayCodec, add_channel_axis, is_array_path, read_arrays
from seqlab.data.batch import batch_of_arrays
from seqlab.data.blocks import in_batches
from seqlab.data.delimited import Reject, RejectedRow, Row, raise_error
from seqlab.data.folders import unlabeled_files
from seqlab.data.images import IMAGES, ImageReader, fit_size
from seqlab.data.table_codec import RowIndices, TableCodec
from seqlab.data.tables import RawTable
from seqlab.data.targets import LabelsTarget, NumbersTarget, Target, residual_names, threshold_name
from seqlab.nn.precision import choose_device, choose_dtype, prepare_inference
from seqlab.runs.config import Config
from seqlab.runs.load import LoadedRun, load_run
from seqlab.tasks.prediction.config import PREDICTOR, PredictionConfig
from seqlab.tasks.prediction.new_inputs import encode_array, encode_rows, encode_table, predictable_examples

logger = logging.getLogger(__name__)
PREDICTION_BATCH_ROWS = 1024
"""Default number of examples per batch."""
IMAGES_PER_BLOCK = 256
"""Number of images in memory."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for one example."""

    text: str
    """The numbers, the most probable class, or the labels with a probability above their thresholds (chosen in
    validation; 0.5 by default), separated by spaces. Empty for an example that cannot be predicted, and for the rows of
    a time series without a full window: the first ones, and those that follow such an example."""
    values: dict[str, float] | None
    """Numbers by column, or the probability of each class or label; None if there is no prediction."""
    interval: dict[str, tuple[float, float]] | None = None
    """90% prediction interval of each number, from the errors on the validation set; None for an ensemble, and if the
    validation set is too small."""


class ExamplePredictor:
    """A predictor, or an ensemble with the same targets, which averages numbers or probabilities."""

    def __init__(self, runs: Sequence[LoadedRun], device: torch.device, dtype: torch.dtype) -> None:
        """Move the models to a device; raises ValueError if their targets differ."""
        if not runs:
            raise ValueError("An ensemble must have at least 1 member, but has 0 instead.")
        self.target: Target = runs[0].codecs[1]
        for run in runs[1:]:
            if type(run.codecs[1]) is not type(self.target) or _names(run.codecs[1]) != _names(self.target):
                raise ValueError(
                    f"{runs[0].folder.path} and {run.folder.path} have different targets: they cannot form an ensemble."
                )
        if len(aheads := {_data_config(run.config).ahead for run in runs if self._window(run)}) > 1:
            steps = " and ".join(map(str, sorted(aheads)))
            raise ValueError(f"The runs predict {steps} rows ahead (`data.ahead`): they cannot form an ensemble.")
        self.runs, self.device = list(runs), device
        self._unknown = ReadingNotes()
        metrics = [_read_validation(member) for member in self.runs]
        self.bounds = _residual_bounds(self.target, metrics[0]) if len(metrics) == 1 else {}
        self.thresholds = np.mean([_thresholds(self.target, metric) for metric in metrics], axis=0)
        for run in runs:
            prepare_inference(run.model, device, dtype)

    def __repr__(self) -> str:
        return f"ExamplePredictor({self.runs}, {self.target.predicts}: {', '.join(_names(self.target)[:5])})"

    def predict(
        self, examples: Sequence[Mapping[str, Any]] | NDArray[Any], *, batch_rows: int = PREDICTION_BATCH_ROWS
    ) -> list[str]:
        """Return the predictions as text; the arguments are those of `predict_detailed`."""
        return [prediction.text for prediction in self.predict_detailed(examples, batch_rows=batch_rows)]

    def predict_detailed(
        self, examples: Sequence[Mapping[str, Any]] | NDArray[Any], *, batch_rows: int = PREDICTION_BATCH_ROWS
    ) -> list[Prediction]:
        """Predict for each example.

        Args:
            examples: rows of a table as dicts, with a value for each input column; or an array (N, ...) as in training.
                Rows of a time series are in the order of time. The first ones have no full window, and their
                predictions are empty.
            batch_rows: examples per batch; affects speed and memory, not the predictions.

        Raises:
            ValueError: a value is missing, or is not a number in a column of numbers; an array has another shape.
        """
        if isinstance(examples, np.ndarray):
            return self._predict_array(examples, "`examples`", batch_rows)
        table = RawTable.from_records(examples, self.input_names())
        predictions = self.predict_table(table, batch_rows=batch_rows)
        self.log_unknown()
        return predictions

    def predict_file(
        self,
        path: str | Path,
        *,
        batch_rows: int = PREDICTION_BATCH_ROWS,
        on_fault: Callable[[str], None] | None = None,
    ) -> list[Prediction]:
        """Predict for the inputs in an .npz file, the images in a folder or one image.

        Arguments are those of `predict_images`, errors those of `predict_detailed`.
        """
        if not is_array_path(Path(path)) or Path(path).is_dir():
            return self.predict_images(list_images(Path(path)), batch_rows=batch_rows, on_fault=on_fault)
        codecs = [self._array_codec(run, str(path)) for run in self.runs]
        first = codecs[0]
        values = read_arrays(Path(path), first.inputs, [], first.layout, codec=first, needs_finite=False).inputs
        return self._predict_encoded(encode_array(codecs, values, str(path), on_fault or raise_error), batch_rows)

    def predict_images(
        self,
        files: Sequence[str | Path],
        *,
        batch_rows: int = PREDICTION_BATCH_ROWS,
        on_fault: Callable[[str], None] | None = None,
    ) -> list[Prediction]:
        """Predict for image files, which each run reads as it read those that it was trained on.

        Args:
            files: paths of images.
            batch_rows: examples per batch; affects speed and memory, not the predictions.
            on_fault: receives the message for an image that cannot be read or has another size; its prediction is
                empty. Without it, the message is raised as an error.

        Raises:
            FileNotFoundError, ValueError: an image cannot be read, and there is no `on_fault`.
        """
        predictions: list[Prediction] = []
        readers = self.image_readers  # an error without Pillow
        for block in in_batches(map(Path, files), IMAGES_PER_BLOCK):
            images = [self._read_image(file, readers, on_fault) for file in block]
            readable = [image for image in images if image is not None]
            predicted: Iterator[Prediction] = iter(())
            if readable:
                inputs = [np.stack(run_inputs) for run_inputs in zip(*readable, strict=True)]
                encoded = [
                    run.codecs[0].encode(run_inputs, "images")
                    for run, run_inputs in zip(self.runs, inputs, strict=True)
                ]
                predicted = iter(self._predict_encoded(encoded, batch_rows))
            predictions += [Prediction("", None) if image is None else next(predicted) for image in images]
        return predictions

    @cached_property
    def image_readers(self) -> list[ImageReader]:
        """The reader of images of each run; its notes count what was converted."""
        return [ImageReader(_data_config(run.config).ground, run.reading) for run in self.runs]

    def _read_image(
        self, file: Path, readers: Sequence[ImageReader], on_fault: Callable[[str], None] | None
    ) -> list[NDArray[Any]] | None:
        """Read an image for each run: (C, H, W); None after a call of `on_fault`."""
        shapes = [self._array_codec(run, str(file)).shape for run in self.runs]
        try:
            return [
                fit_size(reader.read(file), shape, file, reader) for reader, shape in zip(readers, shapes, strict=True)
            ]
        except (OSError, ValueError) as error:
            if on_fault is None:
                raise
            on_fault(str(error))
            return None

    @staticmethod
    def _array_codec(run: LoadedRun, name: str) -> ArrayCodec:
        """Return the codec of a run; raise ValueError if it reads a table. `name` is used in the message."""
        codec = run.codecs[0]
        if not isinstance(codec, ArrayCodec):
            raise ValueError(f"{name} contains arrays or images, but {run.folder.path} reads rows of a table.")
        return codec

    @property
    def reads_tables(self) -> bool:
        """Whether examples are rows of a table, or windows of rows."""
        return isinstance(self.runs[0].codecs[0], TableCodec)

    @property
    def reading(self) -> int:
        """Version of the reading of tables: that of the first run."""
        return self.runs[0].reading

    @property
    def reads_series(self) -> bool:
        """Whether an example is a window of successive rows."""
        return any(self._window(run) for run in self.runs)

    def input_names(self) -> list[str]:
        """Return the columns that the models read; raises ValueError if a model reads arrays."""
        return list(dict.fromkeys(name for codec in self._table_codecs() for name in codec.names))

    def _table_codecs(self) -> list[TableCodec]:
        """Return the codecs of the runs; raises ValueError if a run reads arrays."""
        codecs = [run.codecs[0] for run in self.runs]
        for run, codec in zip(self.runs, codecs, strict=True):
            if not isinstance(codec, TableCodec):
                raise ValueError(f"{run.folder.path} reads arrays or images, not rows of a table.")
        return codecs

    def predict_table(self, table: RawTable, *, batch_rows: int = PREDICTION_BATCH_ROWS) -> list[Prediction]:
        """Predict for the rows of a table; errors are those of `predict_detailed`.

        Counts the categories that are not in the training data, for `log_unknown`.
        """
        return self._predict_encoded(encode_table(self._table_codecs(), table, self._unknown), batch_rows)

    def log_unknown(self) -> None:
        """Warn of the categories that are not in the training data, in all tables since the last call."""
        for line in self._unknown.lines():
            logger.warning("%s", line)
        self._unknown = ReadingNotes()

    def predict_rows(
        self,
        name: str,
        header: Sequence[str],
        rows: Sequence[Row],
        *,
        unit: str = "line",
        batch_rows: int = PREDICTION_BATCH_ROWS,
        reject: Reject = raise_error,
    ) -> list[Prediction | None]:
        """Predict for rows of cells; None for an empty row.

        Args:
            name: name of the table in messages.
            header: names of the columns.
            rows: numbers of lines or of another unit, and cells; a `RejectedRow` is one that could not be read.
            unit: what the numbers count.
            batch_rows: examples per batch; affects speed and memory, not the predictions.
            reject: function that receives the message about a row that cannot be predicted. The prediction is empty,
                and so are those of the rows of a time series whose window has this row.

        Raises:
            ValueError: a column is missing.
        """
        encoded = encode_rows(self._table_codecs(), name, header, rows, self._unknown, reject, unit)
        predictions = iter(self._predict_encoded(encoded, batch_rows))
        return [next(predictions) if cells or isinstance(cells, RejectedRow) else None for _, cells in rows]

    def _predict_array(self, values: NDArray[Any], name: str, batch_rows: int) -> list[Prediction]:
        """Predict for an array (N, ...); `name` is used in messages."""
        return self._predict_encoded([self._encode_array(run, values, name) for run in self.runs], batch_rows)

    def _encode_array(self, run: LoadedRun, values: NDArray[Any], name: str) -> NDArray[np.float32]:
        """Encode an array with the codec of a run."""
        codec = run.codecs[0]
        if not isinstance(codec, ArrayCodec):
            raise ValueError(f"{run.folder.path} reads rows of a table: {', '.join(codec.names)}.")
        if values.ndim < 2:
            raise ValueError(
                f"An array of examples must have at least 2 dimensions (examples and their values), but has "
                f"{values.ndim}."
            )
        axis = codec.channel_axis(values)
        return codec.encode(add_channel_axis(values, codec.layout, axis, name), name)

    def _predict_encoded(self, encoded: Sequence[NDArray[np.float32]], batch_rows: int) -> list[Prediction]:
        """Predict for inputs (N, ...), which are encoded with the codec of each run."""
        if batch_rows < 1:
            raise ValueError(f"`batch_rows` must be at least 1, but is {batch_rows} instead.")
        rows = predictable_examples(encoded, [self._window(run) for run in self.runs])
        total = np.zeros((len(rows), self.target.size))
        for run, inputs in zip(self.runs, encoded, strict=True):
            total += _decode_outputs(run.codecs[1], self._outputs(run, inputs, rows, batch_rows))
        predictions = [Prediction("", None)] * len(encoded[0])
        for row, values in zip(rows.tolist(), total / len(self.runs), strict=True):
            predictions[row] = self._prediction(values)
        return predictions

    @staticmethod
    def _window(run: LoadedRun) -> int:
        """Return the window of a run's time series, or 0."""
        codec = run.codecs[0]
        return codec.window if isinstance(codec, TableCodec) else 0

    @torch.inference_mode()
    def _outputs(
        self, run: LoadedRun, inputs: NDArray[np.float32], rows: RowIndices, batch_rows: int
    ) -> NDArray[np.float32]:
        """Compute the model's outputs (n, O) for the examples with indices (n,), of a time series for their windows."""
        window, is_table = self._window(run), isinstance(run.codecs[0], TableCodec)
        parts = [np.zeros((0, self.target.size), np.float32)]
        for start in range(0, len(rows), batch_rows):
            part = rows[start : start + batch_rows]
            if window:
                examples = inputs[part[:, None] + np.arange(1 - window, 1)]
            else:
                examples = inputs[part][:, None] if is_table else inputs[part]
            batch = batch_of_arrays(np.ascontiguousarray(examples), None, part).to(self.device)
            parts.append(run.model(batch).float().cpu().numpy())
        return np.concatenate(parts)

    def _prediction(self, values: NDArray[np.float64]) -> Prediction:
        """Convert numbers or probabilities (O,) to a prediction."""
        by_name = dict(zip(_names(self.target), values.tolist(), strict=True))
        if isinstance(self.target, NumbersTarget):
            interval = {name: (by_name[name] + low, by_name[name] + high) for name, (low, high) in self.bounds.items()}
            return Prediction(self.target.lines(values[None])[0], by_name, interval or None)
        outputs = values - self.thresholds if isinstance(self.target, LabelsTarget) else values
        return Prediction(self.target.lines(self.target.decide(outputs[None]))[0], by_name)


def list_images(path: Path) -> list[Path]:
    """List the images of a folder or of its subfolders, with a warning for files that are left out; or one image."""
    if not path.is_dir():
        return [path]
    listed = unlabeled_files(path, IMAGES)
    listed.log(path)
    return listed.files


def _data_config(config: Config) -> PredictionConfig:
    assert isinstance(config.data, PredictionConfig)
    return config.data


def _decode_outputs(target: Target, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Convert the outputs of a model to numbers in the units of the data, or to probabilities: (N, O)."""
    if isinstance(target, NumbersTarget):
        return target.decode(outputs)
    exact = outputs.astype(np.float64)
    if isinstance(target, LabelsTarget):  # torch's sigmoid rounds an element by its position among all rows
        return np.exp(-np.logaddexp(0.0, -exact))
    return torch.from_numpy(exact).softmax(1).numpy()


def _read_validation(run: LoadedRun) -> dict[str, Any]:
    """Read the validation metrics of the loaded checkpoint; empty if it was not validated."""
    lines = [line for line in run.folder.read_metrics() if line["kind"] == "valid" and line["step"] == run.step]
    return lines[-1] if lines else {}


def _residual_bounds(target: Target, metrics: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the bounds of the validation errors of each column of numbers that has them."""
    intervals = {column: tuple(metrics.get(name) for name in residual_names(column)) for column in target.names}
    return {column: (low, high) for column, (low, high) in intervals.items() if low is not None and high is not None}


def _thresholds(target: Target, metrics: dict[str, Any]) -> NDArray[np.float64]:
    """Return the minimum probability (O,) at which each label is predicted."""
    return np.array([metrics.get(threshold_name(name), 0.5) for name in _names(target)])


def _names(target: Target) -> list[str]:
    """Return the names of the columns of numbers, of the classes or of the labels."""
    return target.names if isinstance(target, NumbersTarget) else target.values


def load_predictor(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
) -> ExamplePredictor:
    """Load a predictor; several runs or checkpoints form an ensemble.

    Args:
        run: a run folder, or several with the same targets.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA if available, else the CPU.
        precision: dtype of matrix products: `bf16`, `fp32`, or `auto`, which is fp32 for predictors.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the run is not a predictor, is damaged or has another format version; the targets differ.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    chosen_device = choose_device(device)
    members = [load_run(path, step, model_noun=PREDICTOR) for path in runs for step in checkpoints]
    dtype = choose_dtype("fp32" if precision == "auto" else precision, chosen_device)
    return ExamplePredictor(members, chosen_device, dtype)
