"""The parts of `tests/plugin` within a context, so that other tests of the process do not see them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqlab import registry
from seqlab.plugins import load_plugin

PLUGIN_PATH = Path(__file__).parents[1] / "plugin"


@contextmanager
def outside_parts(are_needed: bool = True) -> Iterator[None]:
    """Load the plugin `seqlab_outside`; unregister its parts at the end."""
    if not are_needed:
        yield
        return
    before = {kind: dict(parts) for kind, parts in registry._parts.items()}
    sys.path.insert(0, str(PLUGIN_PATH))
    try:
        load_plugin("seqlab_outside.table")
        yield
    finally:
        sys.path.remove(str(PLUGIN_PATH))
        for kind, parts in before.items():
            registry._parts[kind].clear()
            registry._parts[kind].update(parts)
