"""Description of a fault to plant in the package and of the tests that should detect it (`tests/planted_faults.py`).

The code to replace is searched in all files of the package. When that code changes, the fault must change with it; when
it only moves to another file, nothing needs to change here.
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
    """Path suffixes of the test files that should detect the fault, the fastest first."""
    select: str = ""
    """Selection among these tests (pytest's `-k`), such as the name of a row of the table; empty: all."""
