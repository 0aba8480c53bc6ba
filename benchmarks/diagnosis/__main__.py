"""Planted faults: train healthy and faulty runs, judge `seqlab diagnose` on them, and ask other tools about them."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.diagnosis.data_sets import DATA_SETS
from benchmarks.diagnosis.faults import FAULTS
from benchmarks.diagnosis.judge import judge_all, report
from benchmarks.diagnosis.peers import compare
from benchmarks.diagnosis.runs import HEALTHY, evidence_table, planned_runs, train_all


def make_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = argparse.ArgumentParser("python -m benchmarks.diagnosis", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("train", help="train healthy and faulty runs; those that exist are skipped")
    commands.add_parser("evidence", help="print the scores of the runs beside those of healthy ones")
    judge = commands.add_parser("judge", help="diagnose each run that has no diagnosis, and print the confusion table")
    judge.add_argument("--minutes", type=float, default=3.0, help="minutes of each diagnosis; default: %(default)s")
    judge.add_argument("--json", type=Path, metavar="FILE", help="write all judgements as JSON")
    commands.add_parser("peers", help="ask runmedic, trainspotter and torchmortem about the same runs")
    for command in commands.choices.values():
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
    logging.getLogger("seqlab").setLevel(logging.ERROR)
    planned = list(planned_runs(arguments.datasets, arguments.seeds, arguments.only))
    if arguments.command == "train":
        train_all(arguments.work_dir, planned)
    elif arguments.command == "evidence":
        print(evidence_table(arguments.work_dir, [run for run, _ in planned]))
    elif arguments.command == "peers":
        print(compare(arguments.work_dir, [run for run, _ in planned]))
    else:
        judgements = list(judge_all(arguments.work_dir, [run for run, _ in planned], arguments.minutes))
        print(report(judgements))
        if arguments.json is not None:
            arguments.json.write_text(json.dumps([asdict(each) for each in judgements], indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
