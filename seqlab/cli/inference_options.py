"""The options that all commands share which load a trained run."""

import argparse
from typing import TYPE_CHECKING

from seqlab.cli.parser import Parser
from seqlab.world import ALONE, World

if TYPE_CHECKING:
    from seqlab.inference import Run


def add_inference_options(parser: Parser) -> None:
    """Name the runs, and what they compute on."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder; several are an ensemble")
    parser.add_argument(
        "--checkpoint", nargs="+", default=["best"], metavar="NAME", help="best (default), last or a step; several too"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1 or auto (default)")
    parser.add_argument("--precision", default="auto", metavar="NAME", help="bf16, fp32 or auto (default)")
    parser.add_argument(
        "--engine", default="torch", metavar="NAME", help="torch (default), or ctranslate2: the run is exported once"
    )
    parser.add_argument("--quantization", metavar="NAME", help="of ctranslate2: float32 (default), int8, ...")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="of torch on the CPU: processes that share the lines (default: one per thread, 8 at most)",
    )
    parser.add_argument(
        "--batch_tokens",
        type=int,
        metavar="N",
        help="padded tokens computed together: speed and memory, with torch never the answer",
    )


def load_named_runs(arguments: argparse.Namespace, world: World = ALONE) -> "Run":
    """Load the runs that were named, to be used by all ranks together; raises ValueError as `seqlab.load` does."""
    from seqlab.export.load import load

    with world.main_first():  # which may have to export them
        run = load(
            arguments.runs,
            arguments.checkpoint,
            world.device_name(arguments.device),
            arguments.precision,
            engine=arguments.engine,
            quantization=arguments.quantization,
            threads=world.threads() if arguments.threads is None else arguments.threads,
            processes=1 if arguments.processes is None and not world.is_alone else arguments.processes,
        )
    return run if world.is_alone else run.shared(world)
