"""What the commands share that measure a translator on pairs: it, the pairs, and how to compute."""

import argparse
from typing import TYPE_CHECKING

from seqlab.cli.files import side_by_side
from seqlab.cli.inference_options import add_run_options, set_threads
from seqlab.cli.parser import Parser
from seqlab.data.column import places_of_pairs

if TYPE_CHECKING:
    from seqlab.tasks.translation.run import Run


def add_pair_options(parser: Parser, precision: str) -> None:
    """Name the runs, the sources and the references."""
    add_run_options(parser, precision=precision)
    parser.add_argument("--src", required=True, metavar="FILE", help="sources: FILE or FILE#COLUMN")
    parser.add_argument("--tgt", required=True, metavar="FILE", help="references: FILE or FILE#COLUMN")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def read_pairs(arguments: argparse.Namespace) -> tuple[list[str], list[str], list[str]]:
    """Read both sides, and say where each pair stands; raises ValueError where they are not equally long, or empty."""
    from seqlab.data.columns import parse_column

    src, tgt = parse_column(arguments.src), parse_column(arguments.tgt)
    rows = list(side_by_side([src, tgt]))
    if not rows:
        raise ValueError(f"{arguments.src} is empty: there is nothing to measure on.")
    return [row[0] for row in rows], [row[1] for row in rows], places_of_pairs(src, tgt, 0, len(rows))


def load_one_process(arguments: argparse.Namespace) -> "Run":
    """Load the runs to be computed with step by step, by this process alone."""
    from seqlab.tasks.translation.torch_engine import load_with_torch

    set_threads(arguments.threads)
    return load_with_torch(
        arguments.runs, checkpoint=arguments.checkpoint, device=arguments.device, precision=arguments.precision
    )
