"""Errors that are sent from one process to another."""

import pickle

import pytest

from seqlab.cli.errors import explain
from seqlab.inference.forks import ForkedWorkers
from seqlab.remote_errors import RemoteError


class Unpicklable(Exception):
    def __reduce__(self) -> str:
        raise TypeError("no")


def sent(error: Exception) -> BaseException:
    """Send an error through pickle and re-raise it."""
    received = pickle.loads(pickle.dumps(RemoteError.from_error(error)))
    with pytest.raises(Exception) as raised:  # noqa: PT011
        received.reraise()
    return raised.value


def caught(function: object) -> Exception:
    assert callable(function)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        function()
    error = raised.value
    assert isinstance(error, Exception)
    return error


def test_an_error_for_the_user_stays_one() -> None:
    error = sent(caught(lambda: ForkedWorkers(0)))
    assert explain(error) == ("error: `processes` must be at least 1, but is 0 instead.", 2)


def test_a_bug_stays_one_with_its_traceback() -> None:
    def faulty() -> None:
        int("x")

    error = sent(caught(faulty))
    assert isinstance(error, ValueError)
    assert explain(error) is None
    assert "in faulty" in str(error.__cause__)


def test_a_memory_error_of_a_worker_is_explained() -> None:
    def greedy() -> None:
        raise MemoryError

    explained = explain(sent(caught(greedy)))
    assert explained is not None
    assert explained[0] == "error: memory ran out"


def test_an_unpicklable_error_becomes_text() -> None:
    def fail() -> None:
        raise Unpicklable("three apples")

    error = sent(caught(fail))
    assert isinstance(error, RuntimeError)
    assert str(error) == "Unpicklable: three apples"
