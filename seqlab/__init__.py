"""Sequence modelling on PyTorch: raw text to a trained model, decoded with and measured.

`seqlab.train(config)` trains, `seqlab.load(run_dir)` gives a trained run, `seqlab.register(kind)` adds parts of your
own. Names are imported when they are asked for: neither this file nor `register` imports torch.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names

if TYPE_CHECKING:
    from seqlab.evaluation.metrics import evaluate
    from seqlab.inference.load import load
    from seqlab.registry import register
    from seqlab.runs.config import Config
    from seqlab.training.train import train

__version__ = "0.2.0.dev0"
__all__ = ["Config", "__version__", "evaluate", "load", "register", "train"]

if not TYPE_CHECKING:  # or any name would do
    __getattr__ = late_names(
        __name__,
        {
            "Config": "runs.config",
            "evaluate": "evaluation.metrics",
            "load": "inference.load",
            "register": "registry",
            "train": "training.train",
        },
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
