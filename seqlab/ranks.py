"""Several processes that find each other by torch.distributed: `seqlab.world.World` for more than one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from seqlab.world import LostRank, World

T = TypeVar("T")

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
    # torchrun keeps the store when it starts the ranks anew: without a name of its own, a start would find addresses
    # of the one before.
    store = dist.PrefixStore(f"seqlab_start_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=LONGEST_WAIT)
    try:
        yield
    finally:
        dist.destroy_process_group()


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
