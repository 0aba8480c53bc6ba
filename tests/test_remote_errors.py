"""Errors on their way from one process to another."""

import pickle

import pytest

from seqlab.cli.errors import explain
from seqlab.inference.forks import ForkedWorkers
from seqlab.remote_errors import RemoteError


class Unpicklable(Exception):
    def __reduce__(self) -> str:
        raise TypeError("no")


def arrived(error: Exception) -> BaseException:
    """Carry an error there and raise it."""
    carried = pickle.loads(pickle.dumps(RemoteError.from_error(error)))
    with pytest.raises(Exception) as raised:  # noqa: PT011
        carried.reraise()
    return raised.value


def caught(function: object) -> Exception:
    assert callable(function)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        function()
    error = raised.value
    assert isinstance(error, Exception)
    return error


def test_what_seqlab_says_to_its_user_stays_a_message() -> None:
    error = arrived(caught(lambda: ForkedWorkers(0)))
    assert explain(error) == ("error: `processes` must be at least 1, but is 0 instead.", 2)


def test_a_fault_of_the_program_stays_one_and_shows_where_it_was() -> None:
    def faulty() -> None:
        int("x")

    error = arrived(caught(faulty))
    assert isinstance(error, ValueError)
    assert explain(error) is None
    assert "in faulty" in str(error.__cause__)


def test_memory_that_ran_out_elsewhere_is_explained() -> None:
    def greedy() -> None:
        raise MemoryError

    explained = explain(arrived(caught(greedy)))
    assert explained is not None
    assert explained[0] == "error: memory ran out"


def test_what_cannot_be_pickled_arrives_as_text() -> None:
    def fail() -> None:
        raise Unpicklable("three apples")

    error = arrived(caught(fail))
    assert isinstance(error, RuntimeError)
    assert str(error) == "Unpicklable: three apples"
