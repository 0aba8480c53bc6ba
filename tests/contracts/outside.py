"""The parts of `tests/plugin` within a context, so that other tests of the process do not see them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reference.temporary_parts import temporary_parts

from seqlab.plugins import load_plugin

PLUGIN_PATH = Path(__file__).parents[1] / "plugin"


@contextmanager
def outside_parts(are_needed: bool = True) -> Iterator[None]:
    """Load the plugin `seqlab_outside`; unregister its parts at the end."""
    if not are_needed:
        yield
        return
    sys.path.insert(0, str(PLUGIN_PATH))
    try:
        with temporary_parts():
            load_plugin("seqlab_outside.table")
            yield
    finally:
        sys.path.remove(str(PLUGIN_PATH))
