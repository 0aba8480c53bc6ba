"""The options that all commands share which load a trained run."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seqlab.cli.parser import Parser
from seqlab.world import ALONE, World

if TYPE_CHECKING:
    from seqlab.tasks.language_modelling.language_model import LanguageModel
    from seqlab.tasks.translation.run import Run


def add_run_options(parser: Parser, precision: str) -> None:
    """Name the runs, and what they compute on, with which precision unless the user says otherwise."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder; several are an ensemble")
    parser.add_argument(
        "--checkpoint", nargs="+", default=["best"], metavar="NAME", help="best (default), last or a step; several too"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1 or auto (default)")
    parser.add_argument(
        "--precision", default=precision, metavar="NAME", help=f"bf16, fp32 or auto (default: {precision})"
    )


def add_inference_options(parser: Parser) -> None:
    """Name the runs, and what they compute on: options of which most are for translators."""
    add_run_options(parser, precision="auto")
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


def load_language_models(
    runs: Sequence[str], arguments: argparse.Namespace, world: World = ALONE, *, precision: str | None = None
) -> "LanguageModel":
    """Load language models; raises ValueError as `load_language_model` does."""
    from seqlab.tasks.language_modelling.language_model import load_language_model

    set_threads(world.threads() if arguments.threads is None else arguments.threads)
    device = world.device_name(arguments.device)
    return load_language_model(runs, arguments.checkpoint, device, precision or arguments.precision)


def set_threads(threads: int | None) -> None:
    """Compute with so many threads, None leaves them as they are; raises ValueError for fewer than one."""
    if threads is not None:
        import torch

        if threads < 1:
            raise ValueError(f"`threads` must be at least 1, but is {threads} instead.")
        torch.set_num_threads(threads)


def load_named_runs(arguments: argparse.Namespace, world: World = ALONE, **others: Any) -> "Run":
    """Load the translators that were named, to be used by all ranks together, perhaps with others that decide too.

    Raises ValueError as `seqlab.load` does.
    """
    from seqlab.tasks.translation.load import load_translator

    with world.main_first():  # which may have to export them
        run = load_translator(
            arguments.runs,
            arguments.checkpoint,
            world.device_name(arguments.device),
            arguments.precision,
            engine=arguments.engine,
            quantization=arguments.quantization,
            threads=world.threads() if arguments.threads is None else arguments.threads,
            processes=1 if arguments.processes is None and not world.is_alone else arguments.processes,
            **others,
        )
    return run if world.is_alone else run.shared(world)
