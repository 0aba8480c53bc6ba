"""Step scores -> hypotheses: greedy and beam search over any `Stepper`, with constraints and length penalties.

A name is imported when it is asked for: the command line reads `seqlab.search.config` to print its help, which needs no
torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
