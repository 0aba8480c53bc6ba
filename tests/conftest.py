"""One thread for each test process, set before torch is loaded: pytest runs several side by side (`-n auto`)."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
