"""A fault to plant in the package, with the tests that should notice it: see `tests/planted_faults.py`.

A text is looked for in all files, so that moved code needs no change here; changed code does. Tests are named by the
end of their path.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A text that occurs once in the package, and a wrong one for its place."""

    name: str
    """`group.name`."""
    broken: str
    """The behaviour that is wrong."""
    old: str
    new: str
    tests: tuple[str, ...]
    """The ends of the paths of test files, the fastest first."""
