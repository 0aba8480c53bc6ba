"""Distributed ranks as local processes without torchrun, connected through a file."""

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
from reference.processes import FORKSERVER, skip_fsync

import seqlab.training.loop
from seqlab.runs.config import Config
from seqlab.training import train


@dataclass(frozen=True)
class RaisedError:
    """Type and message of an exception in a rank."""

    kind: type[BaseException]
    message: str


def run_in_ranks(world_size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call `function` in `world_size` ranks and return one result per rank.

    The result is a `RaisedError` for an exception, and None for a killed rank.
    """
    with tempfile.TemporaryDirectory() as folder:
        pipes = [FORKSERVER.Pipe(duplex=False) for _ in range(world_size)]
        processes = [
            FORKSERVER.Process(
                target=_run_rank, args=(rank, world_size, f"{folder}/store", writer, function, arguments)
            )
            for rank, (_, writer) in enumerate(pipes)
        ]
        for process, (_, writer) in zip(processes, pipes, strict=True):
            process.start()
            writer.close()
        results = [_receive(reader) for reader, _ in pipes]
        for process in processes:
            process.join()
    return results


def _run_rank(
    rank: int, world_size: int, store: str, writer: Connection, function: Callable[..., Any], arguments: Sequence[Any]
) -> None:
    os.fsync = skip_fsync
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    dist.barrier()  # no rank fails before all are connected
    try:
        result = function(*arguments)
    except BaseException as error:
        result = RaisedError(type(error), str(error))
    writer.send(result)


def _receive(reader: Connection) -> Any:
    try:
        return reader.recv()
    except EOFError:
        return None


def train_in_ranks(world_size: int, config: Config, run_dir: Path) -> Path:
    """Train to the end and check that every rank returns the folder."""
    results = run_in_ranks(world_size, train, config, run_dir)
    assert results == [run_dir] * world_size, results
    return run_dir


def train_with_signal(config: Config, run_dir: Path, step: int, rank: int, number: int) -> None:
    """Train, and send signal `number` to one rank during a step."""
    start_update = seqlab.training.loop.start_update

    def start_update_with_signal(*arguments: Any) -> Any:
        context = arguments[3]
        if context.step + 1 == step and dist.get_rank() == rank:
            os.kill(os.getpid(), number)
        return start_update(*arguments)

    seqlab.training.loop.start_update = start_update_with_signal
    train(config, run_dir)


def train_until_killed(config: Config, run_dir: Path, step: int, rank: int) -> None:
    """Train until one rank is killed during a step."""
    train_with_signal(config, run_dir, step, rank, signal.SIGKILL)
