"""Commands of translators, and functions that they share."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from seqlab.base.world import SINGLE_PROCESS, World
from seqlab.inference.options import EngineOptions
from seqlab.search.config import SearchConfig

if TYPE_CHECKING:
    from seqlab.tasks.translation.run import Run


def load_named_runs(options: EngineOptions, world: World = SINGLE_PROCESS, **others: Any) -> "Run":
    """Load the translators of the command line, distributed over all ranks.

    `others` are further arguments of `load_translator`, such as a language model. Raises the errors of `seqlab.load`.
    """
    from seqlab.tasks.translation.load_translator import load_translator

    with world.main_first():  # the main rank exports the runs if the engine needs it
        run = load_translator(
            options.runs,
            options.checkpoint,
            world.device_name(options.device),
            options.precision,
            engine=options.engine,
            quantization=options.quantization,
            threads=world.thread_count() if options.threads is None else options.threads,
            processes=1 if options.processes is None and not world.is_single_process else options.processes,
            **others,
        )
    return run if world.is_single_process else run.distributed(world)


def search_values(options: SearchConfig) -> dict[str, Any]:
    """Return the fields of `SearchConfig` by name, without the other options of the command."""
    return {field.name: getattr(options, field.name) for field in fields(SearchConfig)}
