"""Sequence modelling on PyTorch: raw text to a trained model, decoded with and measured.

`seqlab.config_for(fields)` chooses a config for your files, `seqlab.recipe(name)` gives one of the recipes'.
`seqlab.train(config)` trains, `seqlab.load(run_dir)` gives a trained run, `seqlab.evaluate` scores its output, and
`seqlab.register(kind)` adds parts of your own. The packages `seqlab.nn`, `search`, `models`, `objectives`, `optim` and
`data` have the layers, searches, configs and batches.

Names are imported when they are asked for: neither this file nor `register` imports torch.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names

if TYPE_CHECKING:
    from seqlab import data, models, nn, objectives, optim, search
    from seqlab.evaluation.metrics import evaluate
    from seqlab.inference.load import load
    from seqlab.recipes.find import config_for, recipe
    from seqlab.registry import register
    from seqlab.runs.config import Config
    from seqlab.training.train import train

__version__ = "0.2.0.dev0"
__all__ = [
    "Config",
    "__version__",
    "config_for",
    "data",
    "evaluate",
    "load",
    "models",
    "nn",
    "objectives",
    "optim",
    "recipe",
    "register",
    "search",
    "train",
]

if not TYPE_CHECKING:  # or any name would do
    __getattr__ = late_names(
        __name__,
        {
            "Config": "runs.config",
            "config_for": "recipes.find",
            "evaluate": "evaluation.metrics",
            "load": "inference.load",
            "recipe": "recipes.find",
            "register": "registry",
            "train": "training.train",
        },
        modules=("data", "models", "nn", "objectives", "optim", "search"),
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
