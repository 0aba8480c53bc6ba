"""Several processes that find each other by torch.distributed: `seqlab.base.world.World` for more than one."""

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

BETWEEN_LOOKS = 0.01
"""Seconds."""
WAIT_FOR_RANK_0 = 3
"""Seconds: an error that all ranks make comes to all of them at about the same time."""
LONGEST_WAIT = timedelta(hours=12)
"""While one rank prepares a corpus or writes a checkpoint the others wait. One that dies is noticed at once."""


class Ranks(World):
    """One of several processes. All make the same calls in the same order, or they wait for each other for ever."""

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Sum on the device of the values: on a GPU nothing waits for it."""
        sums = values.clone()
        dist.all_reduce(sums)
        return sums

    def highest(self, value: float) -> float:
        """Compare in fp64."""
        found = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.item()

    def broadcast(self, value: T) -> T:
        """Send whatever can be pickled."""
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Send whatever can be pickled."""
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values


@contextmanager
def meet(is_member: bool) -> Iterator[World]:
    """Meet the other ranks, where this process is no member of a group yet; see `seqlab.base.job.joined`."""
    with nullcontext() if is_member else _process_group(), _lost_ranks_named():
        rank, world_size = dist.get_rank(), dist.get_world_size()
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
        world = Ranks(rank, world_size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", world_size)))
        with _quiet_unless(world.is_main):
            yield world


@contextmanager
def _process_group() -> Iterator[None]:
    """Meet the other ranks where torchrun says.

    Nothing may hold the group afterwards: its threads end with it, and one that lets go of a tensor while the
    interpreter ends would abort the process. Functions of `torch.distributed.nn` hold the group that exists when they
    are imported, as default arguments, and torch imports them late (`DistributedDataParallel` does). What DTensor
    caches for FSDP holds it still, see `seqlab.__main__`.
    """
    importlib.import_module("torch.distributed.nn.functional")
    store, rank, world_size = next(dist.rendezvous("env://"))
    store = dist.PrefixStore(name_of_start(store, rank, world_size), store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _told_once(store, rank):
        with _lost_ranks_named():  # rank 0 may have failed before the others were connected
            dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=LONGEST_WAIT)
        try:
            yield
        finally:
            dist.destroy_process_group()
            gc.collect()  # modules that were trained hold the group, in circles of references


def name_of_start(store: dist.Store, rank: int, world_size: int) -> str:
    """Agree with the ranks that are starting now on a name that no start before had.

    torchrun keeps its store when it starts the ranks anew: without a name of its own, a start would find the addresses
    of one before. It tells the ranks nothing that they all share and no other start does: its restart count is each
    machine's own, and one whose neighbour has failed starts anew without counting. So each rank asks with a word of its
    own, and rank 0 answers until all have heard: what ranks of earlier starts have asked is still there.
    """
    if rank != 0:
        word = uuid4().hex
        store.set(f"seqlab/rank_{rank}", word)
        name = store.get(f"seqlab/{word}").decode()  # waits for it
        store.set(f"{name}/rank_{rank}", "")
        return name
    name = f"seqlab/{uuid4().hex}"
    for other in range(1, world_size):
        while not store.check([f"{name}/rank_{other}"]):
            word = store.get(f"seqlab/rank_{other}").decode()
            store.set(f"seqlab/{word}", name)
            time.sleep(BETWEEN_LOOKS)
    return name


@contextmanager
def _told_once(store: dist.Store, rank: int) -> Iterator[None]:
    """Mark an error as told (`is_told`) where rank 0 fails alike, or fails and the error is only about that."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        own = f"failed/{sha256(repr(error).encode()).hexdigest()}"
        with suppress(RuntimeError):  # the store may be gone with the rank that held it
            if rank == 0:
                for key in ("failed", own):
                    store.set(key, "")
            elif _appears(store, "failed" if isinstance(error, LostRank) else own):
                error.is_told = True  # type: ignore[union-attr]
        raise


def _appears(store: dist.Store, key: str) -> bool:
    """Look for a key until it is there or rank 0 has had its time: `store.wait` would print warnings of its own."""
    for _ in range(int(WAIT_FOR_RANK_0 / BETWEEN_LOOKS)):
        if store.check([key]):
            return True
        time.sleep(BETWEEN_LOOKS)
    return False


@contextmanager
def _quiet_unless(is_main: bool) -> Iterator[None]:
    logger = logging.getLogger("seqlab")
    level = logger.level
    if not is_main:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _lost_ranks_named() -> Iterator[None]:
    """Say in words what a closed connection means; gloo's own errors have no type of their own."""
    try:
        yield
    except LostRank:
        raise
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
            raise
        raise LostRank(f"Another rank ended before this one; its own message says why. ({error})") from error
