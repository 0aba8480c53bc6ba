"""Trained models at work: rows of ids in, hypotheses and scores out, in the order of the rows; engines and ensembles.

`seqlab.inference.load` gives a run the class of its task. A name is imported when it is asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
