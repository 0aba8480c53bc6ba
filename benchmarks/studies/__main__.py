"""Run one study, print its table, and write its curves: `python -m benchmarks.studies NAME`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from benchmarks.studies import (
    batch_sizes,
    control,
    curves,
    minimum_ratio,
    optimizers,
    paths,
    policy_gradient,
    regularisation,
    rewards,
    sharpness,
    surfaces,
)
from benchmarks.studies.loss_surface import TASKS, TaskStudy
from benchmarks.studies.study import Study


class Runnable(Protocol):
    """A study: a module, or an object with the same function."""

    def run(self, folder: Path, quick: bool) -> Study:
        """Run the study in a folder."""
        ...


STUDIES: dict[str, Runnable] = {
    "optimizers": optimizers,
    "surfaces": surfaces,
    "batch_sizes": batch_sizes,
    "curves": curves,
    **{
        f"{name}_{task.name}": TaskStudy(task, function)
        for task in TASKS
        for name, function in {
            "sharpness": sharpness.run,
            "minimum_ratio": minimum_ratio.run,
            "paths": paths.run,
        }.items()
    },
    "control": control,
    "regularisation": regularisation,
    **rewards.STUDIES,
    "policy_gradient_multi30k_en_de": policy_gradient,
}


def make_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = argparse.ArgumentParser("python -m benchmarks.studies", description=__doc__)
    parser.add_argument("study", choices=STUDIES, help="name of the study")
    parser.add_argument(
        "--work_dir", type=Path, default=Path("runs/studies"), help="folder of the runs; default: %(default)s"
    )
    parser.add_argument("--curves", type=Path, metavar="FILE", help="write curves for docs/results/draw.py")
    parser.add_argument("--quick", action="store_true", help="smoke test with few steps")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a study."""
    arguments = make_parser().parse_args(argv)
    study = STUDIES[arguments.study].run(arguments.work_dir / arguments.study, arguments.quick)
    print("\n\n".join(study.tables))
    if arguments.curves is not None:
        study.write_curves(arguments.curves)
    return 0


if __name__ == "__main__":
    sys.exit(main())
