"""Commands of language models, and a function that loads the models."""

from typing import TYPE_CHECKING

from seqlab.base.world import SINGLE_PROCESS, World
from seqlab.inference.options import RunOptions, set_threads

if TYPE_CHECKING:
    from seqlab.tasks.language_modelling.language_model import LanguageModel


def load_language_models(
    options: RunOptions, world: World = SINGLE_PROCESS, *, precision: str | None = None
) -> "LanguageModel":
    """Load the language models of the command line; raise the errors of `load_language_model`."""
    from seqlab.tasks.language_modelling.language_model import load_language_model

    set_threads(world.thread_count() if options.threads is None else options.threads)
    device = world.device_name(options.device)
    return load_language_model(options.runs, options.checkpoint, device, precision or options.precision)
