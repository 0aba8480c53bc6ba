"""Several ranks as local processes without torchrun, connected through a file."""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import seqlab.training.loop
from seqlab.runs.config import Config
from seqlab.training import train

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["seqlab.training"])  # imported once for all ranks of all tests


@dataclass(frozen=True)
class Raised:
    """Exception of a failed rank."""

    kind: type[BaseException]
    message: str


def in_ranks(world_size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call `function` in `world_size` ranks; return their results, `Raised` for exceptions, None for killed ranks."""
    with tempfile.TemporaryDirectory() as folder:
        ends = [_forks.Pipe(duplex=False) for _ in range(world_size)]
        processes = [
            _forks.Process(target=_rank, args=(rank, world_size, f"{folder}/store", writer, function, arguments))
            for rank, (_, writer) in enumerate(ends)
        ]
        for process, (_, writer) in zip(processes, ends, strict=True):
            process.start()
            writer.close()
        results = [_received(reader) for reader, _ in ends]
        for process in processes:
            process.join()
    return results


def _rank(
    rank: int, world_size: int, store: str, writer: Connection, function: Callable[..., Any], arguments: Sequence[Any]
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    dist.barrier()  # a rank may fail only after all are connected
    try:
        result = function(*arguments)
    except BaseException as error:
        result = Raised(type(error), str(error))
    writer.send(result)


def _received(reader: Connection) -> Any:
    try:
        return reader.recv()
    except EOFError:
        return None


def train_in_ranks(world_size: int, config: Config, run_dir: Path) -> Path:
    """Train to the end and check that every rank returns the folder."""
    results = in_ranks(world_size, train, config, run_dir)
    assert results == [run_dir] * world_size, results
    return run_dir


def train_with_signal(config: Config, run_dir: Path, step: int, rank: int, number: int) -> None:
    """Train, and send a signal to one rank within a step."""
    update = seqlab.training.loop.start_update

    def updated(*arguments: Any) -> Any:
        context = arguments[3]
        if context.step + 1 == step and dist.get_rank() == rank:
            os.kill(os.getpid(), number)
        return update(*arguments)

    seqlab.training.loop.start_update = updated
    train(config, run_dir)


def train_until_killed(config: Config, run_dir: Path, step: int, rank: int) -> None:
    """Train until one rank is killed."""
    train_with_signal(config, run_dir, step, rank, signal.SIGKILL)
