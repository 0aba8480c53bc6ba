"""seqlab info: what a run folder holds: config, data, model, time, checkpoints and the best validation."""

import argparse
import json

from seqlab.cli.parser import Parser


def make_parser() -> Parser:
    """Name the run."""
    parser = Parser("seqlab info", __doc__)
    parser.add_argument("run_dir", metavar="RUN", help="run folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Print the summary."""
    from seqlab.runs.summary import summarize

    summary = summarize(arguments.run_dir)
    print(json.dumps(summary.as_dict()) if arguments.json else "\n".join(summary.lines()))
    return 0
