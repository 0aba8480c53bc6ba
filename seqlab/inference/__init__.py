"""Inference with trained runs: engines and ensembles that decode and score rows of ids, in the order of the rows.

`seqlab.inference.load` loads a run as the class of its task. Names are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
