"""Train a model from a recipe, a config file or a corpus into a run folder.

Config fields are options, `--section.field value`: `seqlab train RECIPE --help` shows the most used ones. The same
command continues an existing run, and so does `seqlab train RUN`.
"""

import argparse
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from seqlab.cli.config_options import ConfigParser, overrides_of
from seqlab.cli.parser import Parser
from seqlab.cli.train_config import find_target, is_recipe, make_config, names_corpus, training_config

if TYPE_CHECKING:
    from seqlab.runs.overrides import Override

logger = logging.getLogger(__name__)

COMMON_HELP = "common"
"""Value of `--help` without an argument."""


def make_parser() -> Parser:
    """Make the parser: the target, the fields of the config, and options of the run itself."""
    parser = ConfigParser("seqlab train", __doc__, add_help=False)
    parser.add_argument(
        "--run_dir", type=Path, metavar="DIR", help="run folder (default: runs/RECIPE, runs/SRC-TGT or runs/TEXT)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing run, and generate the data of a recipe again"
    )
    parser.add_argument(
        "--folds", type=int, metavar="N", help="cross-validation: one run for each of N folds, in DIR/fold_01 and so on"
    )
    parser.add_argument(
        *("-h", "--help"),
        nargs="?",
        const=COMMON_HELP,
        metavar="all | SECTION",
        help="show this help; with a recipe or a corpus also its most used fields, all fields, or those of a section",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Build the config and train."""
    overrides = overrides_of(arguments)
    if arguments.help is not None:
        return _print_help(arguments, overrides)
    recipe, run_dir = find_target(arguments.target, overrides, arguments.run_dir, overwrite=arguments.overwrite)
    command = ["seqlab", "train", *arguments.given]
    if arguments.folds is not None:
        return _train_folds(arguments, recipe, overrides, run_dir, command)

    from seqlab.base.world import join_world
    from seqlab.training import train

    with join_world():  # only rank 0 logs the end
        train(partial(training_config, recipe, overrides), run_dir, overwrite=arguments.overwrite, command=command)
        _log_end(run_dir)
    return 0


def _log_end(run_dir: Path) -> None:
    """Log whether training finished or ran out of time, and the next command to use."""
    from seqlab.runs.checkpoint import checkpoint_name, checkpoint_steps, read_state
    from seqlab.runs.folder import RunFolder
    from seqlab.runs.load import read_config

    folder = RunFolder(run_dir)
    config, steps, outcome = read_config(folder), checkpoint_steps(folder.checkpoints), "trained"
    limit, planned = config.training.max_minutes, config.training.num_steps
    if steps and limit is not None and steps[-1] < planned and not config.model.is_count_based:
        minutes = read_state(folder.checkpoints / checkpoint_name(steps[-1]))["progress"]["minutes"]
        outcome = f"out of time after {steps[-1]:,} of {planned:,} steps" if minutes >= limit else outcome
    logger.info("%s: %s (next: %s)", outcome, run_dir, config.data.next_command.format(quote(str(run_dir))))


def _print_help(arguments: argparse.Namespace, overrides: "Sequence[Override]") -> int:
    """Print the help of the command and of the requested config fields."""
    from seqlab.cli.train_help import is_section, print_fields

    topic, target = arguments.help, arguments.target
    if target is None and topic != COMMON_HELP and not is_section(topic):
        topic, target = COMMON_HELP, topic  # `--help RECIPE`
    if topic == COMMON_HELP:
        make_parser().print_help()
        if target is None and not (overrides and names_corpus(overrides)):
            return 0
    print_fields(target, overrides, arguments.run_dir, None if topic == COMMON_HELP else topic)
    return 0


def _train_folds(
    arguments: argparse.Namespace, recipe: str | None, overrides: "Sequence[Override]", folder: Path, command: list[str]
) -> int:
    """Train one run for each fold and print the mean scores; a recipe writes its data after the checks."""
    from seqlab.training import train_folds
    from seqlab.training.cross_validation import check_folds

    if is_recipe(recipe) and not (folder / "data").exists():
        with TemporaryDirectory() as first:
            check_folds(make_config(recipe, overrides, Path(first)), folder, arguments.folds)
    config = make_config(recipe, overrides, folder)
    report = train_folds(config, folder, arguments.folds, overwrite=arguments.overwrite, command=command)
    print("\n".join(report.lines()))
    return 0
