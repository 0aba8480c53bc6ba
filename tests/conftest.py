"""For all tests: one thread for each process, set before torch is loaded, as pytest runs several side by side (`-n
auto`), and no deadline for what hypothesis draws, as a slow machine is no mistake.
"""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("seqlab", deadline=None)
settings.load_profile("seqlab")
