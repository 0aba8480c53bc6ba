"""The command `seqlab plot`."""

import json
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic.dataclasses import dataclass

from seqlab.commands import AsOption, Command
from seqlab.inference.options import SETTINGS, Count, File


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PlotOptions:
    """Draw what a translation attended to, of a file that `seqlab translate --alignment FILE` wrote."""

    alignment: File
    """what `seqlab translate --alignment FILE` wrote"""
    line: Count = 1
    """which line"""
    piece: Count = 1
    """which piece of a long line"""
    out: Annotated[File, AsOption, "FIGURE"]
    """a .png or .svg file"""


def run(options: PlotOptions) -> None:
    """Draw one line's attention."""
    from seqlab.reports.attention import save_attention

    piece = read_piece(options.alignment, options.line, options.piece)
    save_attention(options.out, piece["src"], piece["tgt"], piece["weights"])


def read_piece(path: str, line: int, number: int) -> dict[str, Any]:
    """Read the attention of a piece of a line; raises ValueError, naming the file and the line, where it has none."""
    from seqlab.data.readers import read_lines

    text = next(islice(read_lines(Path(path)), line - 1, None), None)
    if text is None:
        raise ValueError(f"{path} has no line {line}.")
    try:
        pieces = json.loads(text)["pieces"]
        found: dict[str, Any] = pieces[number - 1] if number <= len(pieces) else {}
        complete = {"src", "tgt", "weights"} <= found.keys()
        if complete:
            found["weights"] = [[float(weight) for weight in row] for row in found["weights"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path}, line {line}: is not what `seqlab translate --alignment` writes.") from None
    if not complete:
        raise ValueError(f"{path}, line {line}: has {len(pieces)} translated pieces, so there is no piece {number}.")
    return found


PLOT = Command(PlotOptions, run)
