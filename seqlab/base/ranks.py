"""Collective operations across several processes, by torch.distributed: the distributed version of `World`."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from hashlib import sha256
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist

from seqlab.base.world import LostRank, World

T = TypeVar("T")

POLL_SECONDS = 0.01
"""Seconds between two polls of the rendezvous store."""
RANK_0_ERROR_SECONDS = 3
"""Seconds that other ranks wait for rank 0 to report the same error: ranks may raise it at slightly different times."""
COLLECTIVE_TIMEOUT = timedelta(hours=12)
"""Long enough for one rank to prepare a corpus or write a checkpoint. A rank that dies is noticed immediately."""


class DistributedWorld(World):
    """Collective operations across the ranks of a process group.

    All ranks must make the same calls in the same order; otherwise they wait forever.
    """

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum elementwise over all ranks, on the device of `values`, without waiting for the GPU."""
        sums = values.clone()
        dist.all_reduce(sums)
        return sums

    def max(self, value: float) -> float:
        """Return the maximum over all ranks, compared in fp64."""
        maximum = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(maximum, dist.ReduceOp.MAX)
        return maximum.item()

    def broadcast(self, value: T) -> T:
        """Return the value of rank 0 on every rank; it must be picklable."""
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in rank order; they must be picklable."""
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values


@contextmanager
def distributed_world(is_initialized: bool) -> Iterator[World]:
    """Yield the world of the ranks, after joining the process group unless it is initialized; see `join_world`."""
    with nullcontext() if is_initialized else _process_group(), _lost_rank_errors():
        rank, world_size = dist.get_rank(), dist.get_world_size()
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
        world = DistributedWorld(rank, world_size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", world_size)))
        with _log_level_of_rank(world.is_main):
            yield world


@contextmanager
def _process_group() -> Iterator[None]:
    """Join the process group at the address that torchrun set.

    No reference to the group may remain afterwards: its threads would outlive it, and a thread that frees a tensor
    during interpreter shutdown aborts the process. The functions of `torch.distributed.nn` keep the group that exists
    at their import as a default argument, and torch imports them lazily (`DistributedDataParallel` does): import them
    before there is a group. DTensor's caches under FSDP keep a reference anyway: see `seqlab.__main__`.
    """
    importlib.import_module("torch.distributed.nn.functional")
    store, rank, world_size = next(dist.rendezvous("env://"))
    store = dist.PrefixStore(agree_on_store_prefix(store, rank, world_size), store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _mark_reported_errors(store, rank):
        with _lost_rank_errors():  # rank 0 may have failed before the others were connected
            dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=COLLECTIVE_TIMEOUT)
        try:
            yield
        finally:
            dist.destroy_process_group()
            gc.collect()  # trained modules refer to the group, in reference cycles


def agree_on_store_prefix(store: dist.Store, rank: int, world_size: int) -> str:
    """Agree with the other ranks of this launch on a key prefix that no earlier launch has used.

    torchrun keeps its store when it restarts the ranks. With the same keys, a restart would read the addresses of the
    previous launch. No variable of torchrun identifies a launch: restart counts are per machine, and do not increase
    when only a peer has failed. Therefore, each rank writes a random request, and rank 0 answers all requests until
    every rank has confirmed the prefix: the store may still contain requests of earlier launches.
    """
    if rank != 0:
        request = uuid4().hex
        store.set(f"seqlab/rank_{rank}", request)
        prefix = store.get(f"seqlab/{request}").decode()  # blocks until rank 0 answers
        store.set(f"{prefix}/rank_{rank}", "")
        return prefix
    prefix = f"seqlab/{uuid4().hex}"
    for other in range(1, world_size):
        while not store.check([f"{prefix}/rank_{other}"]):
            request = store.get(f"seqlab/rank_{other}").decode()
            store.set(f"seqlab/{request}", prefix)
            time.sleep(POLL_SECONDS)
    return prefix


@contextmanager
def _mark_reported_errors(store: dist.Store, rank: int) -> Iterator[None]:
    """Set `is_reported` on an error that rank 0 raises too, or that only reports the failure of rank 0."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        key_of_error = f"failed/{sha256(repr(error).encode()).hexdigest()}"
        with suppress(RuntimeError):  # rank 0, which runs the store, may have exited
            if rank == 0:
                for key in ("failed", key_of_error):
                    store.set(key, "")
            elif _wait_for_key(store, "failed" if isinstance(error, LostRank) else key_of_error):
                error.is_reported = True  # type: ignore[union-attr]
        raise


def _wait_for_key(store: dist.Store, key: str) -> bool:
    """Return whether a key appears within `RANK_0_ERROR_SECONDS`; `store.wait` would print warnings."""
    for _ in range(int(RANK_0_ERROR_SECONDS / POLL_SECONDS)):
        if store.check([key]):
            return True
        time.sleep(POLL_SECONDS)
    return False


@contextmanager
def _log_level_of_rank(is_main: bool) -> Iterator[None]:
    """Log errors only on ranks other than 0."""
    logger = logging.getLogger("seqlab")
    level = logger.level
    if not is_main:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _lost_rank_errors() -> Iterator[None]:
    """Raise LostRank for a closed connection, which gloo reports as a RuntimeError."""
    try:
        yield
    except LostRank:
        raise
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
            raise
        raise LostRank(f"Another rank ended before this one: see its error message. ({error})") from error
