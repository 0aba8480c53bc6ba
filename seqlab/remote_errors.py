"""Errors of another process, raised anew in this one: with their traceback, and with whose they are."""

from __future__ import annotations

import dis
import pickle
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import seqlab
from seqlab.registry import outside_packages


class RemoteTraceback(Exception):
    """The cause of an error that is raised anew: where it was raised first."""

    def __init__(self, trace: str, is_own: bool) -> None:
        super().__init__(f"\n{trace}")
        self.is_own = is_own


@dataclass(frozen=True)
class RemoteError:
    """An error on its way to another process; it can be pickled."""

    error: Exception
    trace: str
    is_own: bool

    @classmethod
    def from_error(cls, error: Exception) -> RemoteError:
        """Pack an error that was caught; one that cannot be pickled goes as a RuntimeError with its text."""
        trace, is_own = "".join(traceback.format_exception(error)), is_raised_by_seqlab(error)
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return cls(error, trace, is_own)

    def raise_here(self) -> NoReturn:
        """Raise the error, with its first traceback as the cause."""
        raise self.error from RemoteTraceback(self.trace, self.is_own)


def is_raised_by_seqlab(error: BaseException) -> bool:
    """Tell whether an error is seqlab's own message: the innermost frame is its and stands at a `raise` statement.

    So are those of parts from outside, which are written by the same rule: `ValueError` for users.
    The same types coming out of another library, or out of an expression such as `int("x")`, are faults in the program.
    """
    if isinstance(error.__cause__, RemoteTraceback):
        return error.__cause__.is_own
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    package = Path(seqlab.__file__).parent
    corpora = package.parent / "corpora"  # in an editable install
    is_own = any(folder in Path(code.co_filename).parents for folder in (package, corpora))
    is_own |= str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] in outside_packages()
    return is_own and code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
