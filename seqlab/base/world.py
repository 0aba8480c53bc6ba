"""The processes that work on one job, each a rank, and what they tell each other; without torch while there is one.

`torchrun` starts them and sets the environment that they find each other by. A process without it is a world of one,
in which everything here does nothing: callers ask for no special case.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

OnRows = Callable[[int], None]
"""What is told how many more rows are done."""
Compute = Callable[[list[int], OnRows | None], list[T]]
"""Computes what belongs to some rows, given their indices."""

ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells each process."""


class LostRank(RuntimeError):
    """Another rank has ended, so that this one cannot go on."""


@dataclass(frozen=True)
class World:
    """Which of how many processes this is: one alone, see `seqlab.base.ranks.Ranks` for several.

    All ranks make the same calls in the same order.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    """The rank among the processes of this machine."""
    local_world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Tell whether this is the rank that reads, writes and logs."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Tell whether there is no other rank."""
        return self.world_size == 1

    def total(self, values: Tensor) -> Tensor:
        """Sum each of some numbers (n,) in fp64 over all ranks; there are as many on each."""
        return values

    def highest(self, value: float) -> float:
        """Give the largest of all ranks' values."""
        return value

    def broadcast(self, value: T) -> T:
        """Give the main rank's value; the others' are ignored."""
        return value

    def gather(self, value: T) -> list[T]:
        """Give the values of all ranks, in their order."""
        return [value]

    def share(self, items: Sequence[T]) -> list[T]:
        """Take this rank's part of a sequence that all ranks have: every `world_size`-th item."""
        return list(items[self.rank :: self.world_size])

    def collect(self, own: list[T]) -> list[T]:
        """Put the parts that `share` gave, or what became of their items, together again in order."""
        parts = self.gather(own)
        items: list[Any] = [None] * sum(map(len, parts))
        for rank, part in enumerate(parts):
            items[rank :: self.world_size] = part
        return items

    def spread(
        self,
        lengths: Sequence[int],
        compute: Compute[T],
        on_rows: OnRows | None = None,
    ) -> list[T]:
        """Let each rank compute what belongs to some of the rows, given their indices; give all of it in order.

        The ranks get rows that are about equally long; `on_rows` hears of this rank's own, then of all others at once.
        """
        if self.is_alone:
            return compute(list(range(len(lengths))), on_rows)
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        own = compute(self.share(order), on_rows)
        computed = zip(order, self.collect(own), strict=True)
        if on_rows is not None:
            on_rows(len(order) - len(own))
        return [value for _, value in sorted(computed, key=lambda pair: pair[0])]

    def on_main(self, function: Callable[[], T]) -> T:
        """Call a function on the main rank alone and give its result to all; the others wait.

        Raises:
            LostRank: on the other ranks, where the function failed.
        """
        result: Any = None
        with self.main_first():
            if self.is_main:
                result = function()
        return self.broadcast(result)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the main rank through this block before the others, which find its work done.

        Raises:
            LostRank: on the other ranks, where the main one failed in it.
        """
        if not self.is_main:
            if not self.broadcast(False):
                raise LostRank("Rank 0 ended with an error; its own message says which.")
            yield
            return
        try:
            yield
        except BaseException:
            with suppress(RuntimeError):  # that the others have ended too is not what went wrong
                self.broadcast(False)
            raise
        self.broadcast(True)

    def only_main(self, context: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
        """Give a context that the main rank alone enters."""
        return context if self.is_main else nullcontext()

    def from_main(self, items: Iterator[T]) -> Iterator[T]:
        """Yield the main rank's items on every rank, each when all ask for it; the others' iterators are not used."""
        while box := self.broadcast(list(islice(items, 1)) if self.is_main else []):
            yield box[0]

    def device_name(self, name: str) -> str:
        """Give each process of a machine a GPU of its own; raises ValueError where all are told to use the same."""
        if self.is_alone:
            return name
        if name.startswith("cuda:"):
            raise ValueError(
                f"`device` names one device, `{name}`, but {self.local_world_size} processes run on this machine: "
                "give `cuda`, and each takes its own."
            )
        if name == "auto":
            import torch

            return f"cuda:{self.local_rank}" if torch.cuda.is_available() else "cpu"
        return f"cuda:{self.local_rank}" if name == "cuda" else name

    def threads(self) -> int | None:
        """Give each process of a machine its part of the cores, None where there is one process.

        Else each would have a single thread: that is what torchrun asks for unless told otherwise.
        """
        if self.local_world_size == 1:
            return None
        return max(1, usable_cores() // self.local_world_size)


ALONE = World()


def usable_cores() -> int:
    """Count the cores that this process may use: an affinity, as containers set it, may leave it fewer."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rank_before_meeting() -> int:
    """Tell which of the processes that torchrun started this is, without a word to the others; 0 without torchrun."""
    return int(os.environ["RANK"]) if under_torchrun() else 0


def under_torchrun() -> bool:
    """Tell whether torchrun started this process as one of several."""
    return all(name in os.environ for name in ENVIRONMENT) and os.environ["WORLD_SIZE"] != "1"


def refuse_ranks(command: str) -> None:
    """Raise ValueError under torchrun, for a command that does not share its work."""
    if under_torchrun():
        raise ValueError(f"`seqlab {command}` works in one process: start it without torchrun.")
