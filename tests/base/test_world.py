"""Collective operations over several ranks and in a single process, lost ranks, and devices of ranks."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference.processes import FORKSERVER
from reference.ranks import run_in_ranks
from torch.distributed import HashStore, TCPStore

import seqlab.base.ranks
from seqlab.base.ranks import agree_on_store_prefix
from seqlab.base.world import SINGLE_PROCESS, LostRank, ProgressCallback, World, join_world
from seqlab.training.data_parallel import parallelize
from seqlab.training.device_context import DeviceContext


def call_all_operations() -> dict[str, object]:
    """Call each collective operation once; return the results by name."""
    rows_done: list[int] = []

    def compute(rows: list[int], on_rows: ProgressCallback | None) -> list[str]:
        assert on_rows is not None
        on_rows(len(rows))
        return [f"row {i}" for i in rows]

    with join_world() as world:
        rank = world.rank
        return {
            "rank": (rank, world.world_size, world.is_main),
            "sum": world.sum(torch.tensor([rank + 0.5, 2.0], dtype=torch.float64)).tolist(),
            "max": world.max(10.0 - rank),
            "broadcast": world.broadcast(f"from {rank}"),
            "gather": world.gather({"rank": rank}),
            "unshard": world.unshard([each * 10 for each in world.shard(range(5))]),
            "map_rows": world.map_rows([3, 9, 1, 4], compute, rows_done.append),
            "rows done": sum(rows_done),
            "call_on_main": world.call_on_main(lambda: f"on {rank}"),
            "broadcast_items": list(world.broadcast_items(iter(["x", "y"] if world.is_main else []))),
        }


@pytest.mark.parametrize("world_size", [2, 3])
def test_collective_operations_over_ranks(world_size: int) -> None:
    for rank, results in enumerate(run_in_ranks(world_size, call_all_operations)):
        assert results == {
            "rank": (rank, world_size, rank == 0),
            "sum": [sum(range(world_size)) + world_size * 0.5, 2.0 * world_size],
            "max": 10.0,
            "broadcast": "from 0",
            "gather": [{"rank": other} for other in range(world_size)],
            "unshard": [0, 10, 20, 30, 40],
            "map_rows": ["row 0", "row 1", "row 2", "row 3"],
            "rows done": 4,
            "call_on_main": "on 0",
            "broadcast_items": ["x", "y"],
        }


def test_collective_operations_in_a_single_process() -> None:
    results = call_all_operations()
    assert results["rank"] == (0, 1, True)
    assert results["sum"] == [0.5, 2.0]
    assert results["unshard"] == [0, 10, 20, 30, 40]
    assert results["map_rows"] == ["row 0", "row 1", "row 2", "row 3"]
    assert results["rows done"] == 4
    assert results["broadcast_items"] == ["x", "y"]


@given(items=st.lists(st.integers()), world_size=st.integers(1, 6))
def test_shards_contain_each_item_once_and_differ_in_size_by_at_most_one(items: list[int], world_size: int) -> None:
    shards = [World(rank, world_size).shard(items) for rank in range(world_size)]
    assert sorted(item for shard in shards for item in shard) == sorted(items)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def join_as_rank(rank: int, port: int, restarts: int = 0) -> AbstractContextManager[World]:
    """Join as a rank that torchrun has started on a separate machine, with a restart count."""
    variables = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": port, "LOCAL_RANK": 0}
    variables |= {"LOCAL_WORLD_SIZE": 1, "TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": restarts}
    os.environ |= {name: str(value) for name, value in variables.items()}
    return join_world()


def gather_ranks(rank: int, port: int, restarts: int) -> list[int]:
    with join_as_rank(rank, port, restarts) as world:
        return world.gather(world.rank)


def test_ranks_reconnect_for_any_restart_counts() -> None:
    """The store of torchrun keeps its entries when ranks restart."""
    store = TCPStore("localhost", 0, is_master=True)
    for restarts in ([0, 0], [0, 1], [2, 1]):
        lost = FORKSERVER.Process(target=gather_ranks, args=(1, store.port, restarts[1]))  # before it connects
        lost.start()
        while not store.check(["seqlab/rank_1"]):
            time.sleep(0.01)
        lost.kill()
        lost.join()
        with FORKSERVER.Pool(2) as pool:
            calls = [(rank, store.port, count) for rank, count in enumerate(restarts)]
            assert pool.starmap(gather_ranks, calls, chunksize=1) == [[0, 1]] * 2


def threads_after_training(rank: int, port: int) -> list[str]:
    """Compute gradients on a rank, leave the process group, and return the names of the remaining threads."""

    def compute_gradients(world: World) -> None:
        parallelize(torch.nn.Linear(2, 2), DeviceContext(torch.device("cpu"), torch.float32, world))(
            torch.ones(1, 2)
        ).sum().backward()

    with join_as_rank(rank, port) as world:
        compute_gradients(world)
    return sorted(task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm"))


def test_threads_of_a_process_group_end_with_it() -> None:
    """Otherwise, a thread that frees a tensor during interpreter shutdown could abort the process."""
    store = TCPStore("localhost", 0, is_master=True)
    with FORKSERVER.Pool(2) as pool:
        calls = [(rank, store.port) for rank in range(2)]
        for names in pool.starmap(threads_after_training, calls, chunksize=1):
            assert not [name for name in names if "gloo" in name], names


def is_failure_reported(rank: int, port: int, failing: list[int]) -> bool | None:
    """Return `is_reported` of the error of a rank; None without an error."""
    if failing == [1]:
        seqlab.base.ranks.RANK_0_ERROR_SECONDS = 0  # rank 0 reports nothing
    try:
        with join_as_rank(rank, port) as world:
            if rank in failing:
                raise ValueError(f"error of {failing}")
            world.gather(rank)
    except (ValueError, LostRank) as error:
        return getattr(error, "is_reported", False)
    return None


def test_errors_of_all_ranks_are_reported_by_rank_0_and_errors_of_one_rank_by_that_rank() -> None:
    store = TCPStore("localhost", 0, is_master=True)
    for failing, expected in [([0, 1], [False, True]), ([1], [False, False]), ([0], [False, True]), ([], [None, None])]:
        with FORKSERVER.Pool(2) as pool:
            calls = [(rank, store.port, failing) for rank in range(2)]
            assert pool.starmap(is_failure_reported, calls, chunksize=1) == expected


def is_connection_failure_reported(rank: int, port: int) -> bool:
    """Return `is_reported` of the error of a rank if rank 0 fails before rank 1 is connected."""

    def connect(*arguments: object, **options: object) -> None:
        raise ValueError("error of rank 0") if rank == 0 else RuntimeError("Gloo connectFullMesh failed")

    torch.distributed.init_process_group = connect
    try:
        with join_as_rank(rank, port):
            raise AssertionError("The rank is connected.")
    except (ValueError, LostRank) as error:
        return getattr(error, "is_reported", False)


def test_errors_of_rank_0_before_the_connection_are_reported_only_by_rank_0() -> None:
    store = TCPStore("localhost", 0, is_master=True)
    with FORKSERVER.Pool(2) as pool:
        calls = [(rank, store.port) for rank in range(2)]
        assert pool.starmap(is_connection_failure_reported, calls, chunksize=1) == [False, True]


def test_each_start_has_a_unique_store_prefix() -> None:
    store, prefixes = HashStore(), []
    for world_size in (3, 2, 4):
        with ThreadPoolExecutor(world_size) as threads:
            agreed = set(
                threads.map(lambda rank, size=world_size: agree_on_store_prefix(store, rank, size), range(world_size))
            )
        assert len(agreed) == 1
        prefixes += agreed
        for rank in range(1, 4):  # requests of ranks that ended before they were connected
            store.set(f"seqlab/rank_{rank}", f"left by {rank} of {world_size}")
    assert len(set(prefixes)) == 3


def fail_on_main() -> None:
    def fail() -> None:
        raise KeyError("a failure")

    with join_world() as world:
        world.call_on_main(fail)


def fail_in_stream() -> list[int]:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("a failure")

    with join_world() as world:
        return list(world.broadcast_items(items()))


def test_a_failure_of_rank_0_ends_the_other_ranks() -> None:
    main, other = run_in_ranks(2, fail_on_main)
    assert main.kind is KeyError
    assert other.kind is LostRank


def test_rank_0_raises_its_own_error_even_if_the_other_ranks_have_ended() -> None:
    class DisconnectedWorld(World):
        def broadcast(self, value: object) -> object:
            raise RuntimeError("Connection closed by peer")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DisconnectedWorld(0, 2).call_on_main(interrupt)


def test_a_failing_stream_of_rank_0_ends_the_other_ranks() -> None:
    main, other = run_in_ranks(2, fail_in_stream)
    assert main.kind is KeyError
    assert other.kind is LostRank


@pytest.mark.parametrize(
    ("name", "gpus", "expected"),
    [("cpu", True, "cpu"), ("auto", False, "cpu"), ("auto", True, "cuda:1"), ("cuda", True, "cuda:1")],
)
def test_each_process_uses_the_gpu_of_its_local_rank(
    monkeypatch: pytest.MonkeyPatch, name: str, gpus: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    assert World(3, 4, 1, 2).device_name(name) == expected
    assert SINGLE_PROCESS.device_name(name) == name


def test_a_single_gpu_for_several_processes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`device` is the single device `cuda:1`, but 2 processes run on this"):
        World(0, 2, 0, 2).device_name("cuda:1")
    assert SINGLE_PROCESS.device_name("cuda:1") == "cuda:1"


def test_cores_are_divided_among_the_processes_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(7)), raising=False)
    assert World(0, 8, 0, 3).thread_count() == 2
    assert World(0, 16, 0, 16).thread_count() == 1
    assert SINGLE_PROCESS.thread_count() is None


def test_join_world_without_torchrun_is_a_single_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")  # other launchers set it, too
    with join_world() as world:
        assert world is SINGLE_PROCESS
