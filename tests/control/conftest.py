"""Fixtures of the tests of the control task."""

import pytest
from reference.toy_environments import register_environments


@pytest.fixture(scope="session", autouse=True)
def _environments() -> None:
    """Register the environments that the tests define."""
    register_environments()
