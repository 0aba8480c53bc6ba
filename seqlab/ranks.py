"""Several processes that find each other by torch.distributed: `seqlab.world.World` for more than one."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist

from seqlab.world import LostRank, World

T = TypeVar("T")

BETWEEN_ANSWERS = 0.01
"""Seconds."""
LONGEST_WAIT = timedelta(hours=12)
"""While one rank prepares a corpus or writes a checkpoint the others wait. One that dies is noticed at once."""


class Ranks(World):
    """One of several processes. All make the same calls in the same order, or they wait for each other for ever."""

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sum in fp64, through the processors' own connections."""
        sums = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(sums)
        return dict(zip(values, sums.tolist(), strict=True))

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
    """Meet the other ranks, where this process is no member of a group yet; see `seqlab.world.joined`."""
    with _lost_ranks_named(), nullcontext() if is_member else _process_group():
        rank, world_size = dist.get_rank(), dist.get_world_size()
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
        world = Ranks(rank, world_size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", world_size)))
        with _quiet_unless(world.is_main):
            yield world


@contextmanager
def _process_group() -> Iterator[None]:
    """Meet the other ranks where torchrun says."""
    store, rank, world_size = next(dist.rendezvous("env://"))
    store = dist.PrefixStore(name_of_start(store, rank, world_size), store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=LONGEST_WAIT)
    try:
        yield
    finally:
        dist.destroy_process_group()


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
            time.sleep(BETWEEN_ANSWERS)
    return name


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
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
            raise
        raise LostRank("Another rank ended before this one; its own message says why.") from error
