"""The training of a row of the table, for the tests of all its contracts."""

from collections.abc import Iterator

import pytest
import torch
from contracts.outside import outside_parts
from contracts.table import ROWS
from contracts.trained import Trained, train_once
from reference.shared import SharedFolder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with a fixture `trained` for each row that it concerns."""
    if "trained" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("rows")
        rows = [row for row in ROWS if marker is None or marker.args[0](row)]
        metafunc.parametrize("trained", rows, ids=[row.name for row in rows], indirect=True, scope="session")


@pytest.fixture(scope="session")
def trained(request: pytest.FixtureRequest, shared: SharedFolder) -> Trained:
    """Return the training of a row."""
    return train_once(request.param, shared)


@pytest.fixture(autouse=True)
def _settings_of_the_row(request: pytest.FixtureRequest) -> Iterator[None]:
    """Register the parts of the plugin for rows that need them, and restore the number of threads."""
    threads = torch.get_num_threads()
    is_needed = "trained" in request.fixturenames and request.getfixturevalue("trained").row.plugin
    with outside_parts(is_needed):
        yield
    torch.set_num_threads(threads)
