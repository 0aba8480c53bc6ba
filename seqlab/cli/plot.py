"""seqlab plot: draw what a translation attended to, of a file that `seqlab translate --alignment FILE` wrote."""

import argparse
import json
from itertools import islice
from pathlib import Path
from typing import Any

from seqlab.cli.parser import Parser


def make_parser() -> Parser:
    """Name the file, the line and the figure."""
    parser = Parser("seqlab plot", __doc__)
    parser.add_argument("alignment", metavar="FILE", help="what `seqlab translate --alignment FILE` wrote")
    parser.add_argument("--line", type=int, default=1, metavar="N", help="which line (default: 1)")
    parser.add_argument("--piece", type=int, default=1, metavar="N", help="which piece of a long line (default: 1)")
    parser.add_argument("--out", required=True, metavar="FIGURE", help="a .png or .svg file")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Draw one line's attention."""
    from seqlab.reports.attention import save_attention

    piece = read_piece(arguments.alignment, arguments.line, arguments.piece)
    save_attention(arguments.out, piece["src"], piece["tgt"], piece["weights"])
    return 0


def read_piece(path: str, line: int, number: int) -> dict[str, Any]:
    """Read the attention of a piece of a line; raises ValueError, naming the file and the line, where it has none."""
    from seqlab.data.readers import read_lines

    for name, value in (("line", line), ("piece", number)):
        if value < 1:
            raise ValueError(f"`--{name}` must be at least 1, but is {value} instead.")
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
