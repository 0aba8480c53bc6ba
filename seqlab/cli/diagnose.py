"""seqlab diagnose: find out by experiments why a model does not learn.

Each experiment changes one thing of a run, trains a little in memory, and measures. The run itself stays unchanged. A
recipe, a config file or a corpus is trained first, in a temporary folder, for half of the time. Config fields are
options, as in `seqlab train`.
"""

import argparse
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from seqlab.base.json_text import json_text
from seqlab.cli.config_options import ConfigParser, overrides_of
from seqlab.cli.errors import printable
from seqlab.cli.parser import Parser
from seqlab.cli.train_config import find_target, make_config
from seqlab.commands import FOUND, UsageError

if TYPE_CHECKING:
    from seqlab.runs.overrides import Override

logger = logging.getLogger(__name__)
LEVELS = ("likely", "any")
TRAINING_SHARE = 0.5
"""Share of the time in which a config is trained before the experiments."""


def make_parser() -> Parser:
    """Make the parser: a run or the options of `train`, the time, and the form of the output."""
    parser = ConfigParser("seqlab diagnose", __doc__)
    parser.add_argument(
        "--minutes", type=float, default=10.0, metavar="N", help="time for all experiments (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--fail-on",
        metavar="likely | any | CAUSE",
        help=f"exit with status {FOUND} after a likely finding, any finding, or a finding of this cause",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Diagnose a run, and print the findings."""
    from seqlab.diagnosis.diagnosis import diagnose
    from seqlab.diagnosis.finding import CAUSES

    fail_on = arguments.fail_on
    if fail_on is not None and fail_on not in (*LEVELS, *CAUSES):
        raise UsageError(f"`--fail-on` must be `likely`, `any` or a cause ({', '.join(CAUSES)}), but is {fail_on!r}")
    if not 0 < arguments.minutes < math.inf:
        raise UsageError(f"`--minutes` must be a finite number above 0, but is {arguments.minutes:g}")
    with TemporaryDirectory() as folder:
        path, minutes, shortened = _trained_run(arguments, Path(folder))
        with _question_bar() as on_question:
            diagnosis = diagnose(path, minutes, on_question, shortened)
    print(json_text(diagnosis.to_json()) if arguments.json else printable("\n".join(diagnosis.lines())))
    fails = (
        fail_on in ("any", finding.cause) or (fail_on == "likely" == finding.level) for finding in diagnosis.findings
    )
    return FOUND if any(fails) else 0


def _trained_run(arguments: argparse.Namespace, folder: Path) -> tuple[Path, float, list[str] | None]:
    """Return the run to diagnose and the minutes for experiments; a config is first trained in a folder.

    Also return the arguments of `seqlab train` for the complete training of a config.
    """
    from seqlab.runs import RunFolder
    from seqlab.training.train import train

    overrides: list[Override] = overrides_of(arguments)
    target = arguments.target
    if target is not None and RunFolder(target).exists():
        if overrides:
            raise UsageError(
                f"{target} is a run, which is diagnosed as it is: leave out `--{overrides[0][0]}`, or name its "
                f"{RunFolder(target).config_file}"
            )
        return Path(target), arguments.minutes, None
    recipe, run_dir = find_target(target, overrides, None)
    if recipe is None and target is not None:
        raise UsageError(f"the run {run_dir} was not trained yet: train it with `seqlab train {run_dir}`")
    minutes = TRAINING_SHARE * arguments.minutes
    limit: Override = ("training.max_minutes", [f"{minutes:g}"])
    config = make_config(recipe, [*overrides, limit], folder / "run")
    logger.info("the model is first trained for at most %.3g minutes", minutes)
    options = [item for name, values in overrides for item in (f"--{name}", *values)]
    return train(config, folder / "run"), arguments.minutes - minutes, [*([] if target is None else [target]), *options]


@contextmanager
def _question_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar that names the question; yield the callback that advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from seqlab.base.progress import are_bars_shown

    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), disable=not are_bars_shown()) as bar:
        task = bar.add_task("reading the run", total=None)
        yield lambda question, number, count: bar.update(task, description=question, completed=number, total=count)
