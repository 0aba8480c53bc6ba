"""Names of a package whose modules are imported when a name is asked for, so that a command loads what it needs."""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any


def late_names(package: str, homes: Mapping[str, str], modules: Collection[str] = ()) -> Callable[[str], Any]:
    """Make the `__getattr__` of a package (PEP 562).

    Args:
        package: its name.
        homes: maps each name to the module of the package that it is in.
        modules: modules of the package that are names of it themselves.
    """

    def find(name: str) -> Any:
        if name in modules:
            return import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return find
