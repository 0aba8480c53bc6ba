"""seqlab inspect-data: find faults in the data of a recipe, a config file, a corpus or a run.

It reads all rows and reports, with file and line: duplicates and near-duplicates within and across splits, empty rows,
encodings, mojibake, swapped or wrong languages, pairs that are shifted from a line on, lengths that do not fit, and
labels that contradict a simple model. Config fields are options, as in `seqlab train`. Nothing is changed.
"""

import argparse
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

from seqlab.base.json_text import json_text
from seqlab.cli.config_options import ConfigParser, overrides_of
from seqlab.cli.parser import Parser
from seqlab.cli.train_config import find_target, make_config

logger = logging.getLogger(__name__)
FOUND = 3
"""Exit status if there is a finding of a kind of `--fail-on`."""


def make_parser() -> Parser:
    """Make the parser: the target, the fields of the config, and the options of the inspection."""
    parser = ConfigParser("seqlab inspect-data", __doc__)
    parser.add_argument(
        "--kinds", nargs="+", metavar="KIND", help="kinds of findings to look for, such as shift (default: all)"
    )
    parser.add_argument(
        "--rows", type=int, default=5, metavar="N", help="number of rows to print of each kind (default: 5)"
    )
    parser.add_argument("--drop", metavar="OUT", help="write the training files without these rows into a new folder")
    parser.add_argument(
        "--fail-on", nargs="+", default=[], metavar="KIND", help="end with status 3 if a finding has one of these kinds"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, with all rows")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Inspect the data and print the findings."""
    from seqlab.diagnosis.drop_rows import write_rest
    from seqlab.diagnosis.findings import KINDS, check_kinds
    from seqlab.diagnosis.inspect_data import inspect

    kinds = check_kinds(arguments.kinds or KINDS)
    check_kinds(arguments.fail_on)
    with TemporaryDirectory() as folder:  # a recipe may write data there
        overrides = overrides_of(arguments)
        recipe, run_dir = find_target(arguments.target, overrides, None)
        is_run = recipe is None and arguments.target is not None
        config = make_config(recipe, overrides, run_dir if is_run else Path(folder))
        inspection = inspect(config, Path(folder), kinds, lambda name: logger.info("checking %s", name))
        if arguments.drop is not None:
            logger.info("%s", write_rest(inspection, Path(arguments.drop)))
        print(json_text(inspection.to_json()) if arguments.json else "\n".join(inspection.lines(arguments.rows)))
    return FOUND if any(inspection.findings.count(kind) for kind in arguments.fail_on) else 0
