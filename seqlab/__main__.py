"""`python -m seqlab` and `torchrun -m seqlab`: the command line."""

import os
import sys

from seqlab.cli.main import main
from seqlab.world import under_torchrun

if __name__ == "__main__":
    status = main()
    if under_torchrun():
        # A thread that outlives its process group (see `seqlab.ranks`) aborts the process now and then while the
        # interpreter ends, and torchrun would start a finished job anew.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
