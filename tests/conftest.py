"""Settings and fixtures of all tests.

Each process uses one thread, since pytest runs several processes (`-n auto`); this is set before torch is imported.
Hypothesis has no deadline, so that tests do not fail on a slow machine. Ctrl-C works as in a terminal.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from reference.shared import SharedFolder

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell ignores SIGINT in background jobs
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("seqlab", deadline=None)
settings.load_profile("seqlab")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[SharedFolder]:
    """Return the folder of corpora and runs that all workers share; fail at the end if a test changed one of them."""
    base = tmp_path_factory.getbasetemp()
    folder = SharedFolder((base if worker_id == "master" else base.parent) / "shared")
    yield folder
    assert folder.changed_files() == []


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
