"""The command `seqlab plot`."""

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic.dataclasses import dataclass

from seqlab.base.parsing import parse_json
from seqlab.commands import AsOption, Command
from seqlab.inference.options import SETTINGS, Count, File


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PlotOptions:
    """Draw what a translation attended to, or a recording with its transcript.

    The file is what `seqlab translate --alignment FILE` wrote, or `seqlab transcribe --json`.
    """

    file: File
    """attention of translations, or transcripts with times"""
    line: Count = 1
    """which line"""
    piece: Count = 1
    """which piece of a long line"""
    out: Annotated[File, AsOption, "FIGURE"]
    """a .png or .svg file"""


def run(options: PlotOptions) -> None:
    """Draw one line."""
    text = read_line(options.file, options.line)
    try:
        record = parse_json(text)
    except ValueError:
        record = None
    if isinstance(record, dict) and {"audio", "tokens", "words"} <= record.keys():
        from seqlab.reports.recording import save_recording

        part = (record.get("part_start", 0.0), record.get("part_end"))
        save_recording(options.out, record["audio"], record["tokens"], record["words"], part)
    elif isinstance(record, dict) and record.get("fault"):
        raise ValueError(f"{options.file}, line {options.line}: has no transcript: {record['fault']}")
    else:
        from seqlab.reports.attention import save_attention

        piece = read_piece(text, options.file, options.line, options.piece)
        save_attention(options.out, piece["src"], piece["tgt"], piece["weights"])


def read_line(path: str, line: int) -> str:
    """Read a line of a file; raises ValueError where it has fewer."""
    from seqlab.base.raw_lines import LineLimit
    from seqlab.data.readers import read_lines

    text = next(islice(read_lines(Path(path), LineLimit(None)), line - 1, None), None)
    if text is None:
        raise ValueError(f"{path} has no line {line}.")
    return text


def read_piece(text: str, path: str, line: int, number: int) -> dict[str, Any]:
    """Read the attention of a piece of a line; raises ValueError, naming the file and the line, where it has none."""
    try:
        pieces = parse_json(text)["pieces"]
        found: dict[str, Any] = pieces[number - 1] if number <= len(pieces) else {}
        complete = {"src", "tgt", "weights"} <= found.keys()
        if complete:
            found["weights"] = [[float(weight) for weight in row] for row in found["weights"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path}, line {line}: is neither of `seqlab translate --alignment` nor of `seqlab transcribe --json`."
        ) from None
    if not complete:
        raise ValueError(f"{path}, line {line}: has {len(pieces)} translated pieces, so there is no piece {number}.")
    return found


PLOT = Command(PlotOptions, run)
