"""seqlab inspect-data: find faults in the data of a recipe, a config file, a corpus or a run.

It reads all rows and reports, with file and line: duplicates and near-duplicates within and across splits, empty rows,
encodings, mojibake, swapped or wrong languages, pairs that are shifted from a line on, lengths that do not fit, and
labels that contradict a simple model. For a run, it also lists the training rows with the highest out-of-fold loss.
Config fields are options, as in `seqlab train`. Nothing is changed.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from seqlab.base.json_text import json_text
from seqlab.cli.config_options import ConfigParser, overrides_of
from seqlab.cli.errors import printable
from seqlab.cli.parser import Parser
from seqlab.cli.train_config import find_target, make_config, names_corpus
from seqlab.commands import FOUND

if TYPE_CHECKING:
    from seqlab.runs.config import Config
    from seqlab.runs.overrides import Override

logger = logging.getLogger(__name__)
MAX_LOSSES = 1000
"""Number of rows with the highest out-of-fold losses in JSON."""


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
        "--fail-on",
        nargs="+",
        default=[],
        metavar="KIND",
        help=f"exit with status {FOUND} after a finding of one of these kinds",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=200,
        metavar="N",
        help="of a run: steps of each training for the out-of-fold losses; 0 or --kinds leaves them out (default: 200)",
    )
    parser.add_argument(
        "--folds", type=int, default=3, metavar="N", help="of a run: number of these trainings (default: 3)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, with all rows")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Inspect the data and print the findings."""
    from seqlab.diagnosis.data_findings import KINDS, check_kinds
    from seqlab.diagnosis.drop_rows import write_rest
    from seqlab.diagnosis.inspection import inspect

    kinds = check_kinds(arguments.kinds or KINDS)
    check_kinds(arguments.fail_on)
    with TemporaryDirectory() as folder:  # a recipe may write data there
        overrides = overrides_of(arguments)
        recipe, run_dir = find_target(arguments.target, overrides, None)
        is_run = recipe is None and arguments.target is not None
        config = _make_config(recipe, overrides, run_dir if is_run else Path(folder))
        inspection = inspect(config, Path(folder), kinds, lambda name: logger.info("checking %s", name))
        is_ranked = is_run and arguments.steps and arguments.kinds is None
        losses = _highest_losses(run_dir, Path(folder), arguments) if is_ranked else []
        if arguments.json:
            print(json_text(inspection.to_json() | {"out_of_fold_losses": losses}))
        else:
            print(printable("\n".join(inspection.lines(arguments.rows))))
            shown = losses[: arguments.rows]
            if shown:
                print("highest out-of-fold losses, in nats per unit:")
            print("".join(f"  {row['location']}: {row['loss']:.3g}\n" for row in shown), end="")
        if arguments.drop is not None:  # after the report, which names the rows even where no file can be written
            logger.info("%s", write_rest(inspection, Path(arguments.drop)))
    return FOUND if any(inspection.findings.count(kind) for kind in arguments.fail_on) else 0


def _make_config(recipe: str | None, overrides: "Sequence[Override]", folder: Path) -> "Config":
    """Build the config; that of a corpus with lines that are not UTF-8, which cannot be read, has default settings."""
    from seqlab.diagnosis.inspection import has_undecodable_lines
    from seqlab.recipes.find import task_of
    from seqlab.training.config_builder import config_from_defaults

    try:
        return make_config(recipe, overrides, folder)
    except ValueError:
        if recipe is not None or not names_corpus(overrides):
            raise
        config = config_from_defaults([("data.kind", task_of(overrides).kind), *overrides])
        if not has_undecodable_lines(config):
            raise
        return config


def _highest_losses(run_dir: Path, folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the location and the loss of the training rows with the highest out-of-fold losses; none without any."""
    from seqlab.diagnosis.finding import LeftOut
    from seqlab.diagnosis.fold_losses import out_of_fold_losses
    from seqlab.diagnosis.workbench import open_run
    from seqlab.training.update import NonFiniteUpdate

    bench = open_run(run_dir, folder)
    try:
        row_losses = out_of_fold_losses(
            bench, arguments.folds, arguments.steps, lambda fold: logger.info("training %d/%d", fold, arguments.folds)
        )
    except (LeftOut, NonFiniteUpdate) as error:
        logger.warning("the rows are not ranked by their losses: %s", error)
        return []
    highest = row_losses.highest(max(MAX_LOSSES, arguments.rows))
    return [{"location": bench.task.locate(bench.data, index), "loss": loss} for index, loss in highest]
