"""Settings and fixtures of all tests.

Each process uses one thread, since pytest runs several processes (`-n auto`); this is set before torch is imported.
Hypothesis has no deadline, so that tests do not fail on a slow machine. Ctrl-C works as in a terminal.
"""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell ignores SIGINT in background jobs
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("seqlab", deadline=None)
settings.load_profile("seqlab")


@pytest.fixture(scope="module")
def stored_families(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the stored runs of all model families."""
    from reference.stored_families import unpack

    return unpack(tmp_path_factory.mktemp("stored"))


@pytest.fixture
def expected_by_family(stored_families: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Change to the folder of the stored runs, and return their expected outputs by family."""
    from reference.stored_families import read_expected

    monkeypatch.chdir(stored_families)
    return read_expected()
