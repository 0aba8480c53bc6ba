"""Faults to plant in the package, with the tests that should detect them: see `tests/planted_faults.py`.

The code is searched in all files, so moved code needs no change here, but changed code does. Tests are named by the end
of their path.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Code that occurs once in the package, and faulty code to replace it."""

    name: str
    """`group.name`."""
    broken: str
    """The faulty behavior."""
    old: str
    new: str
    tests: tuple[str, ...]
    """Ends of the paths of test files, the fastest first."""
