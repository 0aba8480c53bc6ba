"""The command `seqlab predict`."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from seqlab.base.raw_lines import LineLimit
from seqlab.commands import Command
from seqlab.data.blocks import in_batches
from seqlab.data.readers import DiscardedLine
from seqlab.inference.files import BUFFER_LINES, open_input, output_stream, refuse_same_file
from seqlab.inference.lines import exit_status, is_discarded, json_line, write_lines
from seqlab.inference.options import SETTINGS, Count, DiscardLongLines, File, RunOptions, set_threads

if TYPE_CHECKING:
    from seqlab.tasks.prediction.predictor import Prediction, Predictor


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PredictOptions(RunOptions, DiscardLongLines):
    """Rows in, predictions out, in order and one line for each row.

    Rows are comma- or tab-separated with a line of names above them, or JSON lines; an empty line gives an empty line.
    Runs that read images take the path of an image on each line, or a folder or an .npz file with --input. Reads
    standard input and writes standard output unless files are named.
    """

    input: File | None = None
    """table, .npz file or folder of images (default: standard input)"""
    output: File | None = None
    """where to write (default: standard output)"""
    json: bool = False
    """one JSON object per line: the prediction, and numbers or probabilities by name"""
    batch_rows: Count | None = None
    """examples computed together: speed, memory"""


def run(options: PredictOptions) -> int:
    """Predict for all rows."""
    from seqlab.tasks.prediction.predictor import BATCH_ROWS, load_predictor

    refuse_same_file("--output", options.output, {"--input": options.input})
    set_threads(options.threads)
    limit = options.line_limit()
    predictor = load_predictor(options.runs, options.checkpoint, options.device, options.precision)
    answer = _answer_tables if predictor.reads_tables else _answer_arrays
    with output_stream(options.output) as stream:
        for found in answer(predictor, options.input, options.batch_rows or BATCH_ROWS, limit):
            write_lines(stream, (_line(each, options.json) for each in found))
    return exit_status(limit)


def _line(prediction: "Prediction | str", as_json: bool) -> str:
    """Write a prediction, or the answer to an empty line, which may stand for one that was too long."""
    if isinstance(prediction, str):
        cut = {"truncated": True} if is_discarded(prediction) else {}
        return json_line({"prediction": "", "values": None, **cut}) if as_json else ""
    if not as_json:
        return prediction.text
    interval = {} if prediction.interval is None else {"interval": prediction.interval}
    return json_line({"prediction": prediction.text, "values": prediction.values, **interval})


def _answer_tables(
    predictor: "Predictor", path: str | None, batch_rows: int, limit: LineLimit
) -> Iterator[list["Prediction | str"]]:
    """Read rows and predict, block after block; a series, whose rows belong together, at once.

    The answer to an empty line is an empty string, a `DiscardedLine` for one that was too long.
    """
    from seqlab.data.tables import RawTable, read_rows, read_table, table_kind

    with ExitStack() as opened:
        if path is not None and table_kind(Path(path)) is not None:
            name, (header, rows) = path, read_table(Path(path))
        else:
            source = opened.enter_context(open_input(path, whole_tables=True, limit=limit))
            name, (header, rows) = source.name, read_rows(source.lines, source.name)
        for block in [list(rows)] if predictor.reads_series else in_batches(rows, BUFFER_LINES):
            table = RawTable.empty()
            table.append(name, header, block, predictor.input_names())
            found = iter(predictor.predict_table(table, batch_rows=batch_rows))
            cut = {number for _, number in limit.discarded.locations} if limit.discarded else ()
            yield [next(found) if cells else DiscardedLine() if line in cut else "" for line, cells in block]


def _answer_arrays(
    predictor: "Predictor", path: str | None, batch_rows: int, limit: LineLimit
) -> Iterator[list["Prediction | str"]]:
    """Predict for an .npz file or a folder of images, or for the images that lines name; see `_answer_tables`."""
    from seqlab.data.arrays import is_array_path, read_images

    if path is not None and is_array_path(Path(path)):
        yield list(predictor.predict_file(Path(path), batch_rows=batch_rows))
        return
    with open_input(path, limit=limit) as source:
        for block in in_batches(source.lines, BUFFER_LINES // 16):
            named = [Path(line.strip()) for line in block if line.strip()]
            found = iter(predictor.predict_detailed(read_images(named), batch_rows=batch_rows) if named else ())
            yield [next(found) if line.strip() else line for line in block]


PREDICT = Command(PredictOptions, run)
