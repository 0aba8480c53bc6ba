"""Command line of the benchmarks: run one benchmark and print its table."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import (
    decoding,
    gpu,
    growth,
    kernels,
    language_models,
    pairs,
    preparation,
    quality,
    speech,
    tradeoff,
    training,
)
from benchmarks.options import refuse_missing_folder
from benchmarks.report import write_report
from benchmarks.scale import FULL, MODELS, QUICK, Scale, transformer_sizes, with_model
from seqlab.base.world import usable_cores

BENCHMARKS = {
    "training": training,
    "decoding": decoding,
    "quality": quality,
    "tradeoff": tradeoff,
    "growth": growth,
    "preparation": preparation,
    "language_models": language_models,
    "kernels": kernels,
    "gpu": gpu,
    "pairs": pairs,
    "speech": speech,
}


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of all benchmarks."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="task", required=True, metavar="BENCHMARK")
    for name, module in BENCHMARKS.items():
        command = commands.add_parser(name, description=module.__doc__, help=(module.__doc__ or "").partition(":")[2])
        command.add_argument("--json", type=Path, metavar="FILE", help="write all measurements as JSON")
        command.add_argument("--quick", action="store_true", help="smoke test: a small model on generated text")
        command.add_argument("--threads", type=int, default=usable_cores(), help="default: all cores")
        command.add_argument("--device", default="cpu", help="cpu or cuda; default: %(default)s")
        command.add_argument("--work_dir", type=Path, default=Path("runs/benchmarks"), help="default: runs/benchmarks")
        module.add_options(command)
    return parser


def scale_from_options(arguments: argparse.Namespace) -> Scale:
    """Return the full or the quick scale, overridden by the options."""
    scale = QUICK if arguments.quick else FULL
    for name in ("steps", "repetitions"):
        if getattr(arguments, name, None) is not None:
            scale = replace(scale, **{name: getattr(arguments, name)})
    if getattr(arguments, "micro_batch_tokens", None):
        scale = replace(scale, micro_batch_tokens=tuple(arguments.micro_batch_tokens))
    model = getattr(arguments, "model", MODELS[0])
    if getattr(arguments, "norm", None):
        if model != MODELS[0]:
            raise SystemExit(f"`--norm`: `--model {model}` has no layer norms.")
        scale = replace(scale, model=replace(transformer_sizes(scale.model), norm=arguments.norm))
    return with_model(scale, model)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark; return 1 if a check failed, else 0."""
    arguments = make_parser().parse_args(argv)
    # SystemExit also terminates the running worker.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if arguments.json is not None:
        refuse_missing_folder("--json", arguments.json.parent)
    report = BENCHMARKS[arguments.task].run(arguments, scale_from_options(arguments))
    write_report(report, arguments.json)
    return 1 if report.failed_checks else 0


if __name__ == "__main__":
    sys.exit(main())
