"""For all tests: one thread for each process, set before torch is loaded, as pytest runs several side by side (`-n
auto`), no deadline for what hypothesis draws, as a slow machine is no mistake, and Ctrl-C as it is in a terminal.
"""

import os
import signal

from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what is to run in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("seqlab", deadline=None)
settings.load_profile("seqlab")
