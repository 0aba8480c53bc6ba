"""Examples in, predictions out: what `seqlab.load` gives for a run that predicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.data.arrays import ArrayCodec, add_channel_axis, read_arrays
from seqlab.data.batch import batch_of_arrays
from seqlab.data.table_codec import TableCodec
from seqlab.data.tables import RawTable
from seqlab.data.targets import LabelsTarget, NumbersTarget, Target, residual_names, threshold_name
from seqlab.nn.precision import choose_device, choose_dtype, prepare_inference
from seqlab.runs.config import Config
from seqlab.runs.load import LoadedRun, load_run
from seqlab.tasks.prediction.config import PREDICTOR, PredictionConfig

BATCH_ROWS = 1024
"""Default number of examples that are computed together."""


@dataclass(frozen=True)
class Prediction:
    """What is predicted for one example."""

    text: str
    """A line of the numbers, the likeliest class, or the labels above their thresholds (0.5, unless validation chose
    others), with spaces between; empty where nothing can be predicted."""
    values: dict[str, float] | None
    """Numbers by the names of their columns, or the probability of each class or label; None where nothing can be."""
    interval: dict[str, tuple[float, float]] | None = None
    """Of numbers of a single run: where 9 of 10 lie, by its errors on the validation set; None where these are few."""


class Predictor:
    """Models with the same targets, which decide by the mean of their numbers or probabilities."""

    def __init__(self, runs: Sequence[LoadedRun], device: torch.device, dtype: torch.dtype) -> None:
        """Prepare models; raises ValueError where their targets differ."""
        if not runs:
            raise ValueError("An ensemble must have at least 1 member, but has 0 instead.")
        self.target: Target = runs[0].codecs[1]
        for run in runs[1:]:
            if type(run.codecs[1]) is not type(self.target) or _names(run.codecs[1]) != _names(self.target):
                raise ValueError(
                    f"{runs[0].folder.path} and {run.folder.path} predict different things, so that they cannot "
                    "decide together."
                )
        if len(aheads := {_data_config(run.config).ahead for run in runs if self._window(run)}) > 1:
            steps = " and ".join(map(str, sorted(aheads)))
            raise ValueError(
                f"The runs predict {steps} rows ahead (`data.ahead`), so that they cannot decide together."
            )
        self.runs, self.device = list(runs), device
        found = [_validation(each) for each in self.runs]
        self.bounds = _residual_bounds(self.target, found[0]) if len(found) == 1 else {}
        self.thresholds = np.mean([_thresholds(self.target, figures) for figures in found], axis=0)
        for run in runs:
            prepare_inference(run.model, device, dtype)

    def __repr__(self) -> str:
        return f"Predictor({self.runs}, {self.target.predicts}: {', '.join(_names(self.target)[:5])})"

    def predict(
        self, examples: Sequence[Mapping[str, Any]] | NDArray[Any], *, batch_rows: int = BATCH_ROWS
    ) -> list[str]:
        """Predict and return a line for each example; the arguments are as in `predict_detailed`."""
        return [each.text for each in self.predict_detailed(examples, batch_rows=batch_rows)]

    def predict_detailed(
        self, examples: Sequence[Mapping[str, Any]] | NDArray[Any], *, batch_rows: int = BATCH_ROWS
    ) -> list[Prediction]:
        """Predict for examples.

        Args:
            examples: rows of a table, each with a value under each name of an input column; or an array (N, ...) as in
                training. Rows of a series are in the order of time: predictions begin where a window is full.
            batch_rows: examples computed together: speed and memory, never the answer.

        Raises:
            ValueError: a value is missing, or is no number where numbers are read; an array has another shape.
        """
        if isinstance(examples, np.ndarray):
            return self._predict_array(examples, "`examples`", batch_rows)
        table = RawTable.from_records(examples, self.input_names())
        return self.predict_table(table, batch_rows=batch_rows)

    def predict_file(self, path: str | Path, *, batch_rows: int = BATCH_ROWS) -> list[Prediction]:
        """Predict for the inputs of an .npz file, or the images of a folder; errors as of `predict_detailed`."""
        codec = self.runs[0].codecs[0]
        if not isinstance(codec, ArrayCodec):
            raise ValueError(f"{path} holds arrays or images, but {self.runs[0].folder.path} reads rows of a table.")
        values, _, _ = read_arrays(Path(path), codec.inputs, [], codec.layout)
        return self._predict_array(values, str(path), batch_rows)

    @property
    def reads_tables(self) -> bool:
        """Whether examples are rows of a table, or windows of them."""
        return isinstance(self.runs[0].codecs[0], TableCodec)

    @property
    def reads_series(self) -> bool:
        """Whether an example is a window of successive rows."""
        return any(self._window(run) for run in self.runs)

    def input_names(self) -> list[str]:
        """Name the columns that the models read; raises ValueError where these are arrays."""
        names: dict[str, None] = {}
        for run in self.runs:
            codec = run.codecs[0]
            if not isinstance(codec, TableCodec):
                raise ValueError(f"{run.folder.path} reads arrays or images, not rows of a table.")
            names |= dict.fromkeys(codec.names)
        return list(names)

    def predict_table(self, table: RawTable, *, batch_rows: int = BATCH_ROWS) -> list[Prediction]:
        """Predict for the rows of a table; errors as of `predict_detailed`."""
        return self._predictions([run.codecs[0].encode(table) for run in self.runs], batch_rows)

    def _predict_array(self, values: NDArray[Any], where: str, batch_rows: int) -> list[Prediction]:
        return self._predictions([self._of_array(run, values, where) for run in self.runs], batch_rows)

    def _of_array(self, run: LoadedRun, values: NDArray[Any], where: str) -> NDArray[np.float32]:
        codec = run.codecs[0]
        if not isinstance(codec, ArrayCodec):
            raise ValueError(f"{run.folder.path} reads rows of a table: {', '.join(codec.names)}.")
        if values.ndim < 2:
            raise ValueError(f"An array of examples must have a dimension for them and more, but has {values.ndim}.")
        return codec.encode(add_channel_axis(values, codec.layout, where), where)

    def _predictions(self, encoded: Sequence[NDArray[np.float32]], batch_rows: int) -> list[Prediction]:
        """Predict for encoded rows, (N, ...) of each run."""
        if batch_rows < 1:
            raise ValueError(f"`batch_rows` must be at least 1, but is {batch_rows} instead.")
        count = len(encoded[0])
        missing = max(self._window(run) - 1 for run in self.runs) if count else 0
        missing = min(max(missing, 0), count)
        total = np.zeros((count - missing, self.target.size))
        for run, inputs in zip(self.runs, encoded, strict=True):
            total += _values(run.codecs[1], self._scores(run, inputs, missing, batch_rows))
        means = total / len(self.runs)
        nothing = [Prediction("", None)] * missing
        return nothing + [self._prediction(row) for row in means]

    @staticmethod
    def _window(run: LoadedRun) -> int:
        codec = run.codecs[0]
        return codec.window if isinstance(codec, TableCodec) else 0

    @torch.inference_mode()
    def _scores(
        self, run: LoadedRun, inputs: NDArray[np.float32], missing: int, batch_rows: int
    ) -> NDArray[np.float32]:
        """Score all rows but the first `missing` ones: (N, K)."""
        window, is_table = self._window(run), isinstance(run.codecs[0], TableCodec)
        parts = [np.zeros((0, self.target.size), np.float32)]
        for start in range(missing, len(inputs), batch_rows):
            rows = np.arange(start, min(start + batch_rows, len(inputs)))
            if window:
                read = inputs[rows[:, None] + np.arange(1 - window, 1)]
            else:
                read = inputs[rows][:, None] if is_table else inputs[rows]
            batch = batch_of_arrays(np.ascontiguousarray(read), None, rows).to(self.device)
            parts.append(run.model(batch).float().cpu().numpy())
        return np.concatenate(parts)

    def _prediction(self, values: NDArray[np.float64]) -> Prediction:
        by_name = dict(zip(_names(self.target), values.tolist(), strict=True))
        if isinstance(self.target, NumbersTarget):
            interval = {name: (by_name[name] + low, by_name[name] + high) for name, (low, high) in self.bounds.items()}
            return Prediction(" ".join(f"{value:.6g}" for value in values.tolist()), by_name, interval or None)
        scores = values - self.thresholds if isinstance(self.target, LabelsTarget) else values
        return Prediction(self.target.lines(self.target.decide(scores[None]))[0], by_name)


def _data_config(config: Config) -> PredictionConfig:
    assert isinstance(config.data, PredictionConfig)
    return config.data


def _values(target: Target, scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Turn scores of a run into numbers in the units of its table, or into probabilities: (N, K)."""
    if isinstance(target, NumbersTarget):
        return target.decode(scores)
    exact = torch.from_numpy(scores).double()
    return (exact.sigmoid() if isinstance(target, LabelsTarget) else exact.softmax(1)).numpy()


def _validation(run: LoadedRun) -> dict[str, Any]:
    """Read what was found in the validation of the checkpoint that was loaded."""
    lines = [line for line in run.folder.read_metrics() if line["kind"] == "valid" and line["step"] == run.step]
    return lines[-1] if lines else {}


def _residual_bounds(target: Target, figures: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Read the bounds of the errors of numbers."""
    found = {column: tuple(figures.get(name) for name in residual_names(column)) for column in target.names}
    return {column: (low, high) for column, (low, high) in found.items() if low is not None and high is not None}


def _thresholds(target: Target, figures: dict[str, Any]) -> NDArray[np.float64]:
    """Read the probability from which on each label is predicted: (K,)."""
    return np.array([figures.get(threshold_name(name), 0.5) for name in _names(target)])


def _names(target: Target) -> list[str]:
    return target.names if isinstance(target, NumbersTarget) else target.values


def load_predictor(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
) -> Predictor:
    """Load a run that predicts; several runs or checkpoints become an ensemble.

    Args:
        run: a run folder, or several with the same targets.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA where there is one.
        precision: dtype of matrix products: `bf16`, `fp32`, or `auto`, which is fp32, as numbers are read exactly.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no run that predicts, is damaged or has another format version; targets differ.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    chosen = choose_device(device)
    members = [load_run(path, step, product=PREDICTOR) for path in runs for step in checkpoints]
    return Predictor(members, chosen, choose_dtype("fp32" if precision == "auto" else precision, chosen))
