"""Empty axes for plots."""

from typing import Any

import pytest


@pytest.fixture
def axes() -> Any:
    """Return the axes of a new figure."""
    from matplotlib.figure import Figure

    return Figure().subplots()
