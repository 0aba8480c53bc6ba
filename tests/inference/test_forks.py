"""Rows divided among copies of this process: the same answers in the same order, and what happens when one fails."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import seqlab
from seqlab.inference.forks import CAN_FORK, MOST_FORKS, ROWS_PER_FORK, Forks, choose_count
from seqlab.world import Progress

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="only Linux copies processes")
LENGTHS = [(7 * i) % 31 for i in range(3 * ROWS_PER_FORK + 5)]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_values_come_in_the_order_of_the_rows_from_processes_of_equal_work(count: int) -> None:
    told: list[int] = []

    def compute(own: list[int], progress: Progress | None) -> list[tuple[int, int]]:
        assert progress is not None
        for _ in own:
            progress(1)
        return [(i, os.getpid()) for i in own]

    found = Forks(count).spread(LENGTHS, compute, told.append)
    assert [i for i, _ in found] == list(range(len(LENGTHS)))
    assert sum(told) == len(LENGTHS)
    processes = {process for _, process in found}
    assert len(processes) == min(count, 3)  # as many as have enough rows
    assert (os.getpid() in processes) == (count == 1)
    work = [sum(LENGTHS[i] for i, process in found if process == each) for each in processes]
    assert max(work) - min(work) <= max(LENGTHS)


def test_what_a_copy_raises_is_raised_here() -> None:
    def compute(own: list[int], progress: Progress | None) -> list[int]:
        if 0 in own:
            raise ValueError("row 0 is wrong")
        return own

    with pytest.raises(ValueError, match="row 0 is wrong"):
        Forks(2).spread(LENGTHS, compute)


def test_a_copy_that_is_killed_is_an_error() -> None:
    def compute(own: list[int], progress: Progress | None) -> list[int]:
        os.kill(os.getpid(), signal.SIGKILL)
        return own

    with pytest.raises(RuntimeError, match=r"ended with status -9: memory may have run out.*`processes`"):
        Forks(2).spread(LENGTHS, compute)


def test_a_run_gives_the_same_translations_and_scores(run_folder: Path) -> None:
    words = ["the dog", "a red horse", "sees", "the woman on the street", "quickly", ""]
    lines = [" ".join(words[(i * k) % len(words)] for k in range(1, 2 + i % 4)) for i in range(2 * ROWS_PER_FORK)]
    alone, divided = (seqlab.load(run_folder, processes=count) for count in (1, 2))
    threads = torch.get_num_threads()
    options = {"beam_size": 3, "num_hypotheses": 2, "max_length": 8, "prefixes": [line[:3] for line in lines]}
    assert divided.translate_detailed(lines, **options) == alone.translate_detailed(lines, **options)
    assert divided.score(lines, lines[::-1]) == alone.score(lines, lines[::-1])
    assert torch.get_num_threads() == threads


def test_wrong_counts_are_named(make_run: Callable[..., Path], run_folder: Path) -> None:
    with pytest.raises(ValueError, match="`processes` must be at least 1, but is 0 instead"):
        seqlab.load(run_folder, processes=0)
    with pytest.raises(ValueError, match=r"`processes` \(2\) is an option of torch"):
        seqlab.load(run_folder, engine="ctranslate2", processes=2)


def test_one_copy_for_each_thread_of_the_cpu() -> None:
    assert choose_count(torch.device("cpu")) == min(MOST_FORKS, torch.get_num_threads())
    assert choose_count(torch.device("cuda")) == 1
