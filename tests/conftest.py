"""Settings and fixtures of all tests.

Each process uses one thread, since pytest runs several processes (`-n auto`); this is set before torch is imported.
Hypothesis has no deadline, so that tests do not fail on a slow machine. Ctrl-C works as in a terminal. Files are not
flushed to the disk, which takes most of the time of a short training: no test cuts the power.
"""

import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from reference.memory_folder import MEMORY_FOLDER, has_memory_folder
from reference.processes import skip_fsync
from reference.shared import SharedFolder

if TYPE_CHECKING:
    from contracts.trained import Trained

    from seqlab.runs.config import Config

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell ignores SIGINT in background jobs
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.fsync = skip_fsync
if has_memory_folder():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_FOLDER))
settings.register_profile("seqlab", deadline=None)
settings.load_profile("seqlab")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without garbage collection, which would take half of the time: all modules and tests are kept."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--part K/N`."""
    parser.addoption("--part", metavar="K/N", help="run every Nth of the selected tests, from the Kth")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of other parts. Neighbors take about the same time, so that the parts do, too."""
    if not (part := config.getoption("--part")):
        return
    number, _, count = part.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise pytest.UsageError(f"`--part` must be K/N with K from 1 to N, but is {part!r} instead.")
    selected = items[int(number) - 1 :: int(count)]
    kept = set(selected)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = selected


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[SharedFolder]:
    """Return the folder of corpora and runs that all workers share; fail at the end if a test changed one of them."""
    base = tmp_path_factory.getbasetemp()
    folder = SharedFolder((base if worker_id == "master" else base.parent) / "shared")
    yield folder
    if changed := folder.changed_files():
        pytest.fail(f"A test of this session changed shared files, which must be copied to be changed: {changed}")


@pytest.fixture(scope="session")
def numbers(shared: SharedFolder) -> Path:
    """Return a folder with 129 numbers in English and German (train.en and train.de); tests must not change it."""
    from reference.tiny_runs import write_numbers

    return shared.build("numbers", lambda folder: write_numbers(folder, range(1, 130)))


@pytest.fixture(scope="session")
def translator(numbers: Path, shared: SharedFolder) -> tuple["Config", Path]:
    """Return the config and the folder of a finished run of 12 steps; tests must not change it."""
    from reference.tiny_runs import tiny_config

    from seqlab.training import train

    config = tiny_config(numbers, max_steps=12, save_every=2, valid_every=4)
    return config, shared.build("translator", lambda folder: train(config, folder / "run")) / "run"


@pytest.fixture(scope="session")
def trained_row(shared: SharedFolder) -> Callable[[str], "Trained"]:
    """Return a function that returns the training of a row of `tests/contracts/table.py`, by the name of the row.

    For tests that need any trained run of a family: it is trained once per session, and must be copied to be changed.
    """

    def train(name: str) -> "Trained":
        from contracts.table import ROWS
        from contracts.trained import train_once

        rows = {row.name: row for row in ROWS if not row.plugin}
        assert name in rows, f"no row {name!r} without parts of the plugin, only {', '.join(rows)}"
        return train_once(rows[name], shared)

    return train


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
