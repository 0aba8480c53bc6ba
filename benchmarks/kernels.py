"""`python -m benchmarks kernels`: speedup of each CPU kernel over plain PyTorch, in training steps of recipes."""

import argparse
import logging
from statistics import median

from benchmarks.machine import measure_machine
from benchmarks.processes import run_worker
from benchmarks.report import Report, Row
from benchmarks.scale import Scale
from seqlab.recipes import RECIPES

logger = logging.getLogger(__name__)
DEFAULT_RECIPES = (
    "multi30k_en_de",
    "multi30k_en_de_rnn",
    "g2p_fre",
    "g2p_fre_transformer",
    "tinyshakespeare",
    "tinyshakespeare_gru",
)
QUICK_RECIPES = ("number_words",)


def run(arguments: argparse.Namespace, scale: Scale) -> Report:
    """Measure all recipes, each in its own process."""
    recipes = arguments.recipes or (QUICK_RECIPES if arguments.quick else DEFAULT_RECIPES)
    for name in recipes:
        if name not in RECIPES:
            raise SystemExit(f"`--recipes`: the recipe {name!r} does not exist.")
    report = Report("kernels", measure_machine(arguments))
    steps, repetitions = (1, 1) if arguments.quick else (arguments.steps, arguments.repetitions)
    for recipe in recipes:
        for dtype in arguments.dtypes:
            logger.info("measuring %s in %s", recipe, dtype)
            job = {"recipe": recipe, "dtype": dtype, "steps": steps, "repetitions": repetitions}
            found = run_worker("kernel_speedups", {**job, "threads": arguments.threads}, arguments.threads)
            report.rows += [
                Row(
                    recipe,
                    "kernels",
                    dtype,
                    kernel,
                    more={"speedup": f"{median(ratios):.2f}", "min_to_max": f"{min(ratios):.2f} to {max(ratios):.2f}"},
                )
                for kernel, ratios in found["ratios"].items()
            ]
    report.notes.append(
        "speedup: time of training steps with plain PyTorch instead of the kernel, divided by the time with all kernels"
    )
    return report


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--recipes", nargs="+", metavar="NAME", help=f"default: {' '.join(DEFAULT_RECIPES)}")
    parser.add_argument("--dtypes", nargs="+", choices=("bf16", "fp32"), default=["bf16", "fp32"])
    parser.add_argument("--steps", type=int, default=4, help="training steps per measurement; default: 4")
    parser.add_argument("--repetitions", type=int, default=5, help="measurements of each kernel; default: 5")
