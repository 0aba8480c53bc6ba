"""Sequence modelling on PyTorch: raw text to a trained model, decoded with and measured.

`seqlab.train(config)` trains, `seqlab.load(run_dir)` gives a trained run. Both import torch only when called.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names

if TYPE_CHECKING:
    from seqlab.export.load import load
    from seqlab.training.train import train

__version__ = "0.2.0.dev0"
__all__ = ["__version__", "load", "train"]

__getattr__ = late_names(__name__, {"load": "export.load", "train": "training.train"})
