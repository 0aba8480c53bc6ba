"""Registration of parts for the duration of a context, so that other tests of the process do not see them."""

from collections.abc import Iterator
from contextlib import contextmanager

from seqlab import registry


@contextmanager
def temporary_parts() -> Iterator[None]:
    """Unregister, at the end, all parts that were registered within the context."""
    before = {kind: dict(parts) for kind, parts in registry._parts.items()}
    try:
        yield
    finally:
        for kind, parts in before.items():
            registry._parts[kind].clear()
            registry._parts[kind].update(parts)
