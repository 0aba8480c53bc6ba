"""Decoding: greedy, beam and exact search, sampling, mask-predict and CTC, with constraints and length penalties.

Names are imported lazily, at first use: the command line imports `seqlab.search.config` for its help without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
