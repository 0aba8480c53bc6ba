"""Errors of worker processes, re-raised in the parent process."""

import pickle

import pytest

from seqlab.cli.errors import explain
from seqlab.inference.forks import ForkedWorkers
from seqlab.remote_errors import RemoteError


class Unpicklable(Exception):
    def __reduce__(self) -> str:
        raise TypeError("no")


def round_trip(error: Exception) -> BaseException:
    """Pickle and unpickle an error, re-raise it, and return the exception."""
    received = pickle.loads(pickle.dumps(RemoteError.from_error(error)))
    with pytest.raises(Exception) as raised:  # noqa: PT011
        received.reraise()
    return raised.value


def raised_by(function: object) -> Exception:
    """Call a function and return the exception that it raises."""
    assert callable(function)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        function()
    error = raised.value
    assert isinstance(error, Exception)
    return error


def test_user_errors_keep_their_type_and_exit_status() -> None:
    error = round_trip(raised_by(lambda: ForkedWorkers(0)))
    assert explain(error) == ("error: `processes` must be at least 1, but is 0 instead.", 2)


def test_unexpected_errors_keep_type_and_traceback() -> None:
    def faulty() -> None:
        int("x")

    error = round_trip(raised_by(faulty))
    assert isinstance(error, ValueError)
    assert explain(error) is None
    assert "in faulty" in str(error.__cause__)


def test_memory_errors_of_workers_are_explained() -> None:
    def exhaust_memory() -> None:
        raise MemoryError

    explained = explain(round_trip(raised_by(exhaust_memory)))
    assert explained is not None
    assert explained[0] == "error: memory ran out"


def test_unpicklable_errors_are_re_raised_as_runtime_errors() -> None:
    def fail() -> None:
        raise Unpicklable("three apples")

    error = round_trip(raised_by(fail))
    assert isinstance(error, RuntimeError)
    assert str(error) == "Unpicklable: three apples"
