"""Inference with trained runs: engines and ensembles that decode and score rows of token ids.

`seqlab.inference.load` returns an object of the inference class of the run's task. Names are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
