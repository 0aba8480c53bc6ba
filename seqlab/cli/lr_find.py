"""seqlab lr-find: learning rate range test for a recipe, a config file or a corpus.

The learning rate increases at each step, and the loss is recorded. The run is deleted at the end. Config fields are
options, as in `seqlab train`.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from seqlab.base.json_text import json_text
from seqlab.cli.config_options import ConfigParser, overrides_of
from seqlab.cli.parser import Parser
from seqlab.cli.train_config import find_target, make_config


def make_parser() -> Parser:
    """Make the parser: the target, the fields of the config, and the range of learning rates."""
    parser = ConfigParser("seqlab lr-find", __doc__)
    parser.add_argument(
        "--lowest", type=float, default=1e-6, metavar="LR", help="learning rate of the first step (default: 1e-6)"
    )
    parser.add_argument(
        "--highest", type=float, default=1.0, metavar="LR", help="learning rate of the last step (default: 1)"
    )
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="number of steps (default: 200)")
    parser.add_argument("--out", metavar="FIGURE", help="figure of the losses: a .png or .svg file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the test and print the result."""
    from seqlab.training.range_test import range_test

    with TemporaryDirectory() as folder:  # a recipe may write data there
        overrides = overrides_of(arguments)
        recipe, run_dir = find_target(arguments.target, overrides, None)
        is_run = recipe is None and arguments.target is not None
        config = make_config(recipe, overrides, run_dir if is_run else Path(folder))
        result = range_test(config, arguments.lowest, arguments.highest, arguments.steps)
    print(json_text(result.to_json()) if arguments.json else "\n".join(result.lines()))
    if arguments.out is not None:
        from seqlab.reports.curves import save_range_test

        save_range_test(arguments.out, result.rates, result.losses, result.smoothed, result.lowest)
    return 0
