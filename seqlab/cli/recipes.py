"""seqlab recipes: list the recipes of `seqlab train`, or those with a word in their row.

Minutes are the training time on one or two CPU cores. docs/results has the command and the machine of each result. An
empty cell means that there is no result.
"""

import argparse
from pathlib import Path

import seqlab
from seqlab.base.json_text import json_text
from seqlab.cli.parser import Parser
from seqlab.commands import UsageError

TABLE = Path(seqlab.__file__).parent / "recipes" / "recipes.tsv"
"""Read as a file: importing `seqlab.recipes` would import torch."""


def make_parser() -> Parser:
    """Make the parser."""
    parser = Parser("seqlab recipes", __doc__)
    parser.add_argument(
        "word", nargs="?", metavar="WORD", help="part of a name, task, model or corpus: g2p, label, lstm"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Print the rows that contain the word, ignoring case."""
    header, *rows = read_table()
    word = (arguments.word or "").strip().lower()
    matching_rows = [row for row in rows if word in "\t".join(row[: header.index("minutes")]).lower()]
    if not matching_rows:
        tasks = dict.fromkeys(row[1] for row in rows)
        raise UsageError(f"no recipe matches `{arguments.word}`; the tasks are {'; '.join(tasks)}")
    if arguments.json:
        for row in matching_rows:
            record = dict(zip(header, row, strict=True))
            values = {
                "minutes": int(record["minutes"]) if record["minutes"] else None,
                "figure": record["figure"] or None,
            }
            print(json_text(record | values, ensure_ascii=False))
        return 0
    widths = [max(map(len, column)) for column in zip(header, *matching_rows, strict=True)]
    for row in [header, *matching_rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def read_table() -> list[list[str]]:
    """Read the header and one row for each recipe; the first cell is the name."""
    return [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()]
