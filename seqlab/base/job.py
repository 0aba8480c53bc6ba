"""Joining the job that torchrun has started; without torch while there is one process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from seqlab.base.world import ALONE, World, under_torchrun


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun started, for as long as this context lasts; alone without it.

    A process group that exists already is used as it is. The ranks other than the main one log errors only; what they
    raise has `is_told` set where the main one raises the same.

    Raises:
        LostRank: another rank has ended.
    """
    dist = sys.modules.get("torch.distributed")
    is_member = dist is not None and dist.is_available() and dist.is_initialized()
    if not is_member and not under_torchrun():
        yield ALONE
        return
    from seqlab.base.ranks import meet

    with meet(is_member) as world:
        yield world
