"""For all tests: one thread for each process, set before torch is loaded, as pytest runs several side by side (`-n
auto`), no deadline for what hypothesis draws, as a slow machine is no mistake, and Ctrl-C as it is in a terminal.
"""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what is to run in the background
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
def expected_of_families(stored_families: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Work in the folder of the stored runs; return what they answered, by family."""
    from reference.stored_families import read_expected

    monkeypatch.chdir(stored_families)
    return read_expected()
