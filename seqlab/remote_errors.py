"""Exceptions of worker processes, re-raised in this process with the original traceback."""

from __future__ import annotations

import dis
import pickle
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import seqlab
from seqlab.registry import plugin_packages


class RemoteTraceback(Exception):
    """Cause of a re-raised error: the traceback in the process that raised the error first."""

    def __init__(self, trace: str, is_user_error: bool) -> None:
        super().__init__(f"\n{trace}")
        self.is_user_error = is_user_error


@dataclass(frozen=True)
class RemoteError:
    """A picklable error with its traceback, for sending to another process."""

    error: Exception
    trace: str
    is_user_error: bool

    @classmethod
    def from_error(cls, error: Exception) -> RemoteError:
        """Pack a caught error; an error that cannot be pickled becomes a RuntimeError with its message."""
        trace, is_for_user = "".join(traceback.format_exception(error)), is_user_error(error)
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return cls(error, trace, is_for_user)

    def reraise(self) -> NoReturn:
        """Raise the error, with the original traceback as its cause."""
        raise self.error from RemoteTraceback(self.trace, self.is_user_error)


def is_user_error(error: BaseException) -> bool:
    """Return whether an error is a message to the user: whether a `raise` statement of seqlab or a plugin raised it.

    An error of the same type from another library, or from an expression such as `int("x")`, is a bug in the program.
    """
    if isinstance(error.__cause__, RemoteTraceback):
        return error.__cause__.is_user_error
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    is_from_seqlab = Path(seqlab.__file__).parent in Path(code.co_filename).parents
    is_from_seqlab |= str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] in plugin_packages()
    return is_from_seqlab and code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
