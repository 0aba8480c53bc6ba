"""The ranks of a distributed job and their collective operations, without torch for a single process.

`torchrun` starts the ranks and sets the environment variables through which they connect. A process without torchrun
has a `World` of size 1, in which each collective operation returns its input, so that callers need no special case.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

ProgressCallback = Callable[[int], None]
"""Progress callback: receives the number of rows that were completed since the last call."""
ComputeRows = Callable[[list[int], ProgressCallback | None], list[T]]
"""Function that computes one result per row, from row indices and a progress callback."""

TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets in each process."""


class LostRank(RuntimeError):
    """Error on this rank because another rank has ended."""


@dataclass(frozen=True)
class World:
    """The rank of this process and the collective operations over all ranks.

    This class is for a single process; `seqlab.base.ranks.DistributedWorld` is for several. All ranks must make the
    same calls in the same order.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    """Rank among the processes of this machine."""
    local_world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which reads, writes and logs."""
        return self.rank == 0

    @property
    def is_single_process(self) -> bool:
        """Whether there is only one rank."""
        return self.world_size == 1

    def sum(self, values: Tensor) -> Tensor:
        """Sum a vector (n,) of fp64 elementwise over all ranks (all-reduce)."""
        return values

    def max(self, value: float) -> float:
        """Return the maximum over all ranks."""
        return value

    def broadcast(self, value: T) -> T:
        """Return the value of rank 0 on every rank; the values of the others are ignored."""
        return value

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in rank order."""
        return [value]

    def shard(self, items: Sequence[T]) -> list[T]:
        """Return this rank's shard of a sequence that all ranks have: every `world_size`-th item."""
        return list(items[self.rank :: self.world_size])

    def unshard(self, shard: list[T]) -> list[T]:
        """Merge the shards of all ranks, or the results for their items, into the order of the sharded sequence."""
        parts = self.gather(shard)
        items: list[Any] = [None] * sum(map(len, parts))
        for rank, part in enumerate(parts):
            items[rank :: self.world_size] = part
        return items

    def map_rows(
        self,
        lengths: Sequence[int],
        compute: ComputeRows[T],
        on_rows: ProgressCallback | None = None,
    ) -> list[T]:
        """Compute a result per row, with the rows divided among the ranks; return all results in row order.

        Args:
            lengths: lengths of the rows; each rank gets rows of about the same total length.
            compute: function that computes the results of this rank's rows from their indices.
            on_rows: progress callback: receives the numbers of rows that `compute` completes on this rank, and finally
                the number of rows of all other ranks.
        """
        if self.is_single_process:
            return compute(list(range(len(lengths))), on_rows)
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        shard = compute(self.shard(order), on_rows)
        computed = zip(order, self.unshard(shard), strict=True)
        if on_rows is not None:
            on_rows(len(order) - len(shard))
        return [value for _, value in sorted(computed, key=lambda pair: pair[0])]

    def call_on_main(self, function: Callable[[], T]) -> T:
        """Call a function on rank 0 only, and broadcast its result.

        Raises:
            LostRank: on the other ranks, if the function fails.
        """
        result: Any = None
        with self.main_first():
            if self.is_main:
                result = function()
        return self.broadcast(result)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run a block on rank 0 first, then on the other ranks, for example to fill a cache.

        Raises:
            LostRank: on the other ranks, if rank 0 fails in the block.
        """
        if not self.is_main:
            if not self.broadcast(False):
                raise LostRank("Rank 0 failed: see its error message.")
            yield
            return
        try:
            yield
        except BaseException:
            with suppress(RuntimeError):  # raise the first error, even if the other ranks have ended too
                self.broadcast(False)
            raise
        self.broadcast(True)

    def enter_on_main(self, context: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
        """Return `context` on rank 0, and a context that does nothing on the other ranks."""
        return context if self.is_main else nullcontext()

    def broadcast_items(self, items: Iterator[T]) -> Iterator[T]:
        """Yield rank 0's items on every rank, one broadcast per item; the iterators of the other ranks are not used."""
        while next_items := self.broadcast(list(islice(items, 1)) if self.is_main else []):
            yield next_items[0]

    def device_name(self, name: str) -> str:
        """Return the device of this process: a different GPU for each process of a machine.

        Raises:
            ValueError: `name` is one specific GPU, but this machine runs several processes.
        """
        if self.is_single_process:
            return name
        if name.startswith("cuda:"):
            raise ValueError(
                f"`device` is the single device `{name}`, but {self.local_world_size} processes run on this machine: "
                "use `cuda`, so that each process takes a different one."
            )
        if name == "auto":
            import torch

            return f"cuda:{self.local_rank}" if torch.cuda.is_available() else "cpu"
        return f"cuda:{self.local_rank}" if name == "cuda" else name

    def thread_count(self) -> int | None:
        """Return this process's share of the cores as its number of threads; None if it is the only process.

        By default, torchrun would restrict each process to a single thread.
        """
        if self.local_world_size == 1:
            return None
        return max(1, usable_cores() // self.local_world_size)


SINGLE_PROCESS = World()


@contextmanager
def join_world() -> Iterator[World]:
    """Join the ranks that torchrun started, for the duration of the context; without torchrun, yield `SINGLE_PROCESS`.

    An existing process group is used as it is. Ranks other than 0 log errors only. If rank 0 raises the same error, the
    error of another rank gets the attribute `is_reported`.

    Raises:
        LostRank: another rank has ended.
    """
    dist = sys.modules.get("torch.distributed")
    is_initialized = dist is not None and dist.is_available() and dist.is_initialized()
    if not is_initialized and not is_under_torchrun():
        yield SINGLE_PROCESS
        return
    from seqlab.base.ranks import distributed_world

    with distributed_world(is_initialized) as world:
        yield world


def usable_cores() -> int:
    """Count the cores that this process may use, which its CPU affinity can restrict."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rank_from_environment() -> int:
    """Return the rank that torchrun set in the environment; 0 without torchrun."""
    return int(os.environ["RANK"]) if is_under_torchrun() else 0


def is_under_torchrun() -> bool:
    """Return whether torchrun started this process as one of several."""
    return all(name in os.environ for name in TORCHRUN_VARIABLES) and os.environ["WORLD_SIZE"] != "1"


def require_single_process(command: str) -> None:
    """Raise ValueError under torchrun, for a command that cannot divide its work among ranks."""
    if is_under_torchrun():
        raise ValueError(f"`seqlab {command}` runs in a single process: start it without torchrun.")
