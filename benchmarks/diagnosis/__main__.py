"""Planted faults: train healthy and faulty runs, judge `seqlab diagnose` on them, and compare with other tools."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.diagnosis.data_sets import DATA_SETS
from benchmarks.diagnosis.faults import FAULTS
from benchmarks.diagnosis.runs import HEALTHY, train_all


def make_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = argparse.ArgumentParser("python -m benchmarks.diagnosis", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train healthy and faulty runs; those that exist are skipped")
    for command in (train,):
        command.add_argument("--datasets", nargs="+", choices=DATA_SETS, default=list(DATA_SETS), help="default: all")
        command.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="default: 1 2 3")
        causes = [HEALTHY, *(fault.cause for fault in FAULTS)]
        command.add_argument("--only", nargs="+", choices=causes, default=[], metavar="CAUSE", help="default: all")
        command.add_argument("--work_dir", type=Path, default=Path("runs/diagnosis"), help="default: %(default)s")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command."""
    arguments = make_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("seqlab").setLevel(logging.WARNING)
    train_all(arguments.work_dir, arguments.datasets, arguments.seeds, arguments.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
