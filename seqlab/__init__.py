"""Sequence modelling on PyTorch: raw text to a trained model, decoded with and measured.

`seqlab.train(config)` trains, `seqlab.load(run_dir)` gives a trained run. Both import torch only when called.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqlab.inference import load
    from seqlab.training import train

__version__ = "0.1.0"
__all__ = ["__version__", "load", "train"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from seqlab.inference import load

        return load
    if name == "train":
        from seqlab.training import train

        return train
    raise AttributeError(f"module 'seqlab' has no attribute {name!r}")
