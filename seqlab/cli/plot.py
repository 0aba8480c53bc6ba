"""Command `seqlab plot`: draw training curves, attention or a transcribed recording."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from seqlab.base.config_class import dataclass
from seqlab.base.parsing import parse_json
from seqlab.commands import AsOption, Command, UsageError
from seqlab.inference.options import SETTINGS, Count, File

KINDS = ("curves", "attention", "recording")


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PlotOptions:
    """Draw the curves of training runs, the attention of a translation, or a recording with its transcript.

    `seqlab plot curves RUN [RUN ...]` draws loss, validation metric, learning rate, gradient norm and speed.
    `seqlab plot attention FILE` draws a line of `seqlab translate --alignment FILE`.
    `seqlab plot recording FILE` draws a line of `seqlab transcribe --json`.
    Without a kind, the content of the file determines which of the last two is drawn.
    """

    what: list[Annotated[File, "[curves | attention | recording] RUN | FILE"]]
    """what to draw, and the runs or the file"""
    x: Literal["step", "minutes", "epoch"] = "step"
    """horizontal axis of curves"""
    line: Count = 1
    """number of the line of the file"""
    piece: Count = 1
    """number of the segment of a long line"""
    out: Annotated[File, AsOption, "FIGURE"]
    """a .png or .svg file"""


def run(options: PlotOptions) -> None:
    """Draw the figure."""
    kind, paths = split_kind(options.what)
    if kind == "curves":
        refuse_options(options, "curves")
        from seqlab.reports.curves import save_curves

        save_curves(options.out, paths, options.x)
        return
    if len(paths) > 1:
        raise UsageError(f"one figure shows one file, but {len(paths)} files are given: {' '.join(paths)}")
    draw_line(options, kind, paths[0])


def refuse_options(options: PlotOptions, kind: str) -> None:
    """Raise UsageError for an option that has no effect on this kind of figure."""
    options_of_kinds = {
        "x": (options.x != PlotOptions.x, ("curves",)),
        "line": (options.line != PlotOptions.line, ("attention", "recording")),
        "piece": (options.piece != PlotOptions.piece, ("attention",)),
    }
    for name, (is_given, kinds) in options_of_kinds.items():
        if is_given and kind not in kinds:
            raise UsageError(f"`--{name}` is for `seqlab plot {' | '.join(kinds)}`, not for `{kind}`: leave it out")


def split_kind(what: Sequence[str]) -> tuple[str | None, list[str]]:
    """Split the arguments into the kind of figure, None if it is omitted, and the paths."""
    if len(what) > 1 and what[0] in KINDS:
        return what[0], list(what[1:])
    return None, list(what)


def draw_line(options: PlotOptions, kind: str | None, path: str) -> None:
    """Draw the attention of a translation, or a transcript, from one line of a file."""
    text = read_line(path, options.line)
    try:
        record = parse_json(text)
    except ValueError:
        record = None
    is_transcript = isinstance(record, dict) and {"audio", "tokens", "words"} <= record.keys()
    if isinstance(record, dict) and record.get("fault"):
        raise ValueError(f"{path}, line {options.line}: has no transcript: {record['fault']}")
    if kind == "recording" and not is_transcript:
        raise ValueError(f"{path}, line {options.line}: is not an output of `seqlab transcribe --json`.")
    if is_transcript and kind != "attention":
        from seqlab.reports.recording import save_recording

        assert isinstance(record, dict)
        refuse_options(options, "recording")
        segment = (record.get("part_start", 0.0), record.get("part_end"))
        channel = record.get("channel", "")
        save_recording(options.out, record["audio"], record["tokens"], record["words"], segment, channel)
    else:
        from seqlab.reports.attention_figure import save_attention

        refuse_options(options, "attention")
        piece = read_piece(text, path, options.line, options.piece)
        save_attention(options.out, piece["src"], piece["tgt"], piece["weights"], title=f"{path}, line {options.line}")


def read_line(path: str, line: int) -> str:
    """Read a line of a file by its number; raise ValueError if the file is shorter."""
    from seqlab.base.raw_lines import LineLimit
    from seqlab.data.readers import read_lines

    text = next(islice(read_lines(Path(path), LineLimit(None)), line - 1, None), None)
    if text is None:
        raise ValueError(f"{path} has no line {line}.")
    return text


def read_piece(text: str, path: str, line: int, number: int) -> dict[str, Any]:
    """Read the attention of a segment of a line; raise ValueError, with file and line, if there is none."""
    try:
        pieces = parse_json(text)["pieces"]
        piece: dict[str, Any] = pieces[number - 1] if number <= len(pieces) else {}
        complete = {"src", "tgt", "weights"} <= piece.keys()
        if complete:
            piece["weights"] = [[float(weight) for weight in row] for row in piece["weights"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path}, line {line}: is not an output of `seqlab translate --alignment` or `seqlab transcribe --json`."
        ) from None
    if not complete:
        raise ValueError(f"{path}, line {line}: has {len(pieces)} translated segments, but no segment {number}.")
    return piece


PLOT = Command(PlotOptions, run)
