"""Predict numbers, classes or labels (`seqlab predict`)."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from seqlab.base.config_class import dataclass
from seqlab.base.raw_lines import LineLimit
from seqlab.base.reading_notes import ReadingNotes
from seqlab.commands import INCOMPLETE, Command
from seqlab.data.blocks import in_batches
from seqlab.data.column import join_lines
from seqlab.data.readers import DiscardedLine
from seqlab.inference.files import BUFFER_LINES, open_input, output_stream, refuse_same_file
from seqlab.inference.lines import exit_status, is_discarded, json_line, write_lines
from seqlab.inference.options import (
    SETTINGS,
    Count,
    DiscardLongLines,
    File,
    RunOptions,
    refuse_text_for_runs,
    set_threads,
)

if TYPE_CHECKING:
    from seqlab.tasks.prediction.example_predictor import ExamplePredictor, Prediction

logger = logging.getLogger(__name__)
MAX_NAMED_ROWS = 10
"""Maximum number of rows without a prediction that are named in warnings."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PredictOptions(RunOptions, DiscardLongLines):
    """Predict a number, class or labels for each row: one output line per input row, in order.

    Rows are comma- or tab-separated values after a header line, or JSON lines. An empty line gives an empty output
    line. So does a row or image that cannot be predicted, which is named in a warning; the exit status is then 3. For
    runs trained on images, each line is the path of an image, or --input names an image, a folder of images or an .npz
    file. Reads standard input and writes standard output unless files are named.
    """

    input: File | None = None
    """table, .npz file, image or folder of images (default: standard input)"""
    output: File | None = None
    """output file (default: standard output)"""
    json: bool = False
    """write one JSON object per line: the prediction, and the numbers or probabilities by name"""
    batch_rows: Count | None = None
    """examples per batch; affects only speed and memory"""


def run(options: PredictOptions) -> int:
    """Predict block by block; return the exit status."""
    from seqlab.tasks.prediction.example_predictor import PREDICTION_BATCH_ROWS, load_predictor

    refuse_text_for_runs(options.runs, "standard input, or from --input FILE")
    refuse_same_file("--output", options.output, {"--input": options.input})
    set_threads(options.threads)
    limit = options.line_limit()
    predictor = load_predictor(options.runs, options.checkpoint, options.device, options.precision)
    if options.input is not None:
        _refuse_other_inputs(predictor, Path(options.input))
    batch_rows, rejected = options.batch_rows or PREDICTION_BATCH_ROWS, RejectedRows(predictor.reads_series)
    predict = _predict_tables if predictor.reads_tables else _predict_arrays
    with output_stream(options.output) as stream:
        for block in predict(predictor, options.input, batch_rows, limit, rejected.add):
            write_lines(stream, (_format_line(prediction, options.json) for prediction in block))
    predictor.log_unknown()
    return max(exit_status(limit), rejected.exit_status())


def _refuse_other_inputs(predictor: "ExamplePredictor", path: Path) -> None:
    """Raise ValueError for a table if the run reads arrays or images, and the other way round."""
    from seqlab.data.arrays import is_array_path
    from seqlab.data.tables import table_kind

    run = predictor.runs[0].folder.path
    if path.suffix.lower() == ".npy":
        raise ValueError(f"{path}: is one array without a name: save it as .npz, by `numpy.savez(FILE, NAME=array)`.")
    if predictor.reads_tables and is_array_path(path):
        raise ValueError(f"{path}: holds arrays or images, but {run} reads rows of a table.")
    if not predictor.reads_tables and table_kind(path) is not None:
        raise ValueError(f"{path}: is a table, but {run} reads arrays or images.")


class RejectedRows:
    """Count the rows that cannot be predicted, and name the first ones in warnings."""

    def __init__(self, are_in_windows: bool) -> None:
        """`are_in_windows`: whether the predictions of other rows depend on them, too."""
        self.count, self.are_in_windows = 0, are_in_windows

    def add(self, message: str) -> None:
        """Count a row; `message` names it, and what is wrong."""
        self.count += 1
        if self.count <= MAX_NAMED_ROWS:
            logger.warning("%s Its output line is empty.", message if message.endswith(".") else f"{message}.")

    def exit_status(self) -> int:
        """Return the exit status of the command, after a warning with the number of rows if there are any."""
        if not self.count:
            return 0
        more = ", and so are those of the rows whose window has one of them" if self.are_in_windows else ""
        logger.warning("%s row(s) cannot be predicted, so their output lines are empty%s", f"{self.count:,}", more)
        return INCOMPLETE


def _format_line(prediction: "Prediction | str", as_json: bool) -> str:
    """Format a prediction, or the empty string for an empty or discarded line."""
    if isinstance(prediction, str):
        cut = {"truncated": True} if is_discarded(prediction) else {}
        return json_line({"prediction": "", "values": None, **cut}) if as_json else ""
    if not as_json:
        return join_lines(prediction.text)  # the name of a class can have several lines
    interval = {} if prediction.interval is None else {"interval": prediction.interval}
    return json_line({"prediction": prediction.text, "values": prediction.values, **interval})


def _predict_tables(
    predictor: "ExamplePredictor", path: str | None, batch_rows: int, limit: LineLimit, on_fault: Callable[[str], None]
) -> Iterator[list["Prediction | str"]]:
    """Read rows and yield their predictions in blocks; a time series is one block, since its windows span rows.

    The prediction of an empty line is an empty string, that of a line above the limit a `DiscardedLine`. `on_fault`
    receives the message about a row that cannot be predicted.
    """
    from seqlab.data.tables import read_rows, read_table, table_kind

    names, reading, empty = predictor.input_names(), predictor.reading, ReadingNotes()
    with ExitStack() as opened:
        if path is not None and table_kind(Path(path)) is not None:
            name, (header, rows) = path, read_table(Path(path), names, reading=reading, reject=on_fault)
        else:
            source = opened.enter_context(open_input(path, tables_as_text=True, limit=limit, reading=reading))
            name = source.name
            header, rows = read_rows(source.lines, name, None, names, reading=reading, reject=on_fault)
        for block in [list(rows)] if predictor.reads_series else in_batches(rows, BUFFER_LINES):
            predictions = predictor.predict_rows(
                name, header, block, unit=rows.unit, batch_rows=batch_rows, reject=on_fault
            )
            discarded = {number for _, number in limit.discarded.locations} if limit.discarded else ()
            for (line, _), prediction in zip(block, predictions, strict=True):
                if prediction is None and line not in discarded:
                    empty.add("empty lines have empty output lines", f"{name}, line {line}")
            yield [
                DiscardedLine() if line in discarded else "" if prediction is None else prediction
                for (line, _), prediction in zip(block, predictions, strict=True)
            ]
    for note in empty.lines():
        logger.warning("%s", note)


def _predict_arrays(
    predictor: "ExamplePredictor", path: str | None, batch_rows: int, limit: LineLimit, on_fault: Callable[[str], None]
) -> Iterator[list["Prediction | str"]]:
    """Yield predictions for an .npz file, a folder of images, or images named line by line; see `_predict_tables`."""
    from seqlab.data.arrays import is_array_path
    from seqlab.data.images import IMAGE_SUFFIXES, SERIOUS_NOTES
    from seqlab.tasks.prediction.example_predictor import IMAGES_PER_BLOCK, list_images

    if path is not None and is_array_path(Path(path)) and not Path(path).is_dir():
        yield list(predictor.predict_file(Path(path), batch_rows=batch_rows, on_fault=on_fault))
        return
    with ExitStack() as opened:
        if path is not None and (Path(path).is_dir() or Path(path).suffix.lower() in IMAGE_SUFFIXES):
            lines: Iterator[str] = map(str, list_images(Path(path)))
        else:
            lines = iter(opened.enter_context(open_input(path, limit=limit, reading=predictor.reading)).lines)
        for block in in_batches(lines, IMAGES_PER_BLOCK):
            names = [line.strip() for line in block if line.strip()]
            predictions = iter(predictor.predict_images(names, batch_rows=batch_rows, on_fault=on_fault))
            yield [next(predictions) if line.strip() else line for line in block]
    for note in predictor.image_readers[0].notes:
        logger.log(logging.WARNING if note.text.startswith(SERIOUS_NOTES) else logging.INFO, "%s", note)


PREDICT = Command(PredictOptions, run)
