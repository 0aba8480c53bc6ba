"""CUDA graphs for decoding: the kernels of a step are captured once per search, then launched by a single call.

A step of a Transformer consists of hundreds of small kernels, which take the host longer to launch than the device to
run. The first step of a search has one row per sentence. The second step is the first one of a fixed size, and the
third is captured. Sentences that leave the search keep their rows in the graph, and the outputs of these are ignored.

Shapes: N rows of the search, K rows of each sentence, G rows of the graph: K for each sentence of the second step.
"""

import copy
import gc
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from seqlab.models.interfaces import State, Step
from seqlab.search.protocols import StaticStepper, Stepper

T = TypeVar("T")
MIN_FREE_MEMORY_SHARE = 1 / 16
"""If less than this share of the device's memory is free, PyTorch's cached memory is released before a capture."""


def static_state(stepper: Stepper, state: State, steps: int) -> State | None:
    """Convert a state to a fixed size, with room for `steps` more steps; None if the model does not support it."""
    return stepper.static_state(state, steps) if isinstance(stepper, StaticStepper) else None


def cuda_graph_step(
    stepper: Stepper, state: State, device: torch.device, rows: int, steps: int
) -> tuple[Callable[[Tensor, Any], Step], State]:
    """Return a model's step function and the initial state; on a GPU most steps replay a CUDA graph.

    `rows`: K, rows per sentence from the second step on. `steps`: maximum number of steps.
    """
    if not has_graphs(device):
        return stepper.step, state
    return (lambda last_ids, state: state.step(last_ids)), GrowingState(stepper, state, rows, steps)


def has_graphs(device: torch.device) -> bool:
    """Return whether a device supports CUDA graphs."""
    return device.type == "cuda"


@dataclass(frozen=True)
class GrowingState:
    """State of variable size: until the second step, and for all steps if the model has no state of a fixed size."""

    stepper: Stepper
    state: State
    rows: int
    """K, rows per sentence from the second step on."""
    steps: int
    """Maximum number of steps, including those already taken."""
    taken: int = 0
    """Number of steps already taken."""

    def step(self, last_ids: Tensor) -> Step:
        """Read `last_ids` (N,) and score the next ids."""
        if self.taken == 1:
            static = static_state(self.stepper, self.state, self.steps - 1)
            if static is not None:
                return GraphedState(self.stepper, static, self.rows, last_ids).step(last_ids)
        step = self.stepper.step(last_ids, self.state)
        return step._replace(state=replace(self, state=step.state, taken=self.taken + 1))

    def select(self, rows: Tensor) -> "GrowingState":
        """Select rows by index (N',) int64, in any order and with repetitions."""
        return replace(self, state=self.state.select(rows))

    def fork(self) -> "GrowingState":
        """Return an independent copy."""
        return replace(self, state=self.state.fork())


class GraphedState:
    """A state of a fixed size, with the CUDA graph of its step."""

    def __init__(self, stepper: Stepper, state: State, rows: int, last_ids: Tensor) -> None:
        self.stepper, self.state, self.rows = stepper, state, rows
        self.last_ids = last_ids.clone()
        """(G,) int64, input of the graph."""
        self.graph_rows = torch.arange(len(last_ids), device=last_ids.device)
        """(N,) int64: row of the graph for each row of the search."""
        self.recorded = RecordedFunction(last_ids.device)

    def step(self, last_ids: Tensor) -> Step:
        """Read `last_ids` (N,) and score the next ids."""
        self.last_ids.index_copy_(0, self.graph_rows, last_ids)
        step = self.recorded(self._step)
        # Copies, because the next step writes to the same memory.
        attention = None if step.attention is None else step.attention.index_select(0, self.graph_rows)
        return Step(step.scores.index_select(0, self.graph_rows), self, attention)

    def _step(self) -> Step:
        return self.stepper.step(self.last_ids, self.state)

    def select(self, rows: Tensor) -> "GraphedState":
        """Select rows (N',) int64: K rows of each remaining sentence, reordered within the sentence."""
        sources = self.graph_rows[rows]
        if self.rows > 1:
            rank = torch.arange(len(rows), device=rows.device) % self.rows
            self.graph_rows = sources - sources % self.rows + rank
            order = torch.arange(len(self.last_ids), device=rows.device).index_copy_(0, self.graph_rows, sources)
            self.state = self.state.select(order)
        else:
            self.graph_rows = sources
        return self

    def fork(self) -> "GraphedState":
        """Return an independent copy, which captures a new graph."""
        forked = copy.copy(self)
        forked.state, forked.last_ids = self.state.fork(), self.last_ids.clone()
        forked.recorded = RecordedFunction(self.last_ids.device)
        return forked


class RecordedFunction:
    """A function that the first call runs, the second captures as a CUDA graph, and later calls replay.

    Its results are in the same memory each time. The function is passed with each call: if it were stored, a state that
    owns this object would be part of a reference cycle, and only the garbage collector would free its memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.memory: GraphMemory | None = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, function: Callable[[], Step]) -> Step:
        """Run the function, or replay its graph."""
        if self.memory is None:  # before a capture, libraries must allocate their workspaces on the stream
            self.memory = GraphMemory.acquire(self.device)
            with self.memory.use_stream():
                return function()
        if self.graph is None:
            self.graph, self.result = self.memory.record(function)
            weakref.finalize(self, GraphMemory.release, self.memory).atexit = False
        self.graph.replay()
        return self.result


class GraphMemory:
    """A stream to capture graphs on, and a memory pool for their intermediate results.

    Graphs use it one after the other, never two at once. Destroying a graph may free workspaces that libraries have
    allocated for its stream, so graphs in use must not share a stream.
    """

    _idle: ClassVar[defaultdict[torch.device, list["GraphMemory"]]] = defaultdict(list)

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()
        # PyTorch frees a pool with the last graph that was captured into it. This graph is never destroyed.
        with torch.inference_mode(False):
            self.anchor, _ = self.record(lambda: torch.zeros(1, device=device))

    @classmethod
    def acquire(cls, device: torch.device) -> "GraphMemory":
        """Return memory that no graph uses, or create it."""
        try:
            return cls._idle[device].pop()
        except IndexError:
            return cls(device)

    def release(self) -> None:
        """Release this memory for use by another graph."""
        self._idle[self.device].append(self)

    def record(self, function: Callable[[], T]) -> tuple[torch.cuda.CUDAGraph, T]:
        """Capture the kernels that a function launches.

        `torch.cuda.graph` is not used, because it releases all cached memory each time.
        """
        free, total = torch.cuda.mem_get_info(self.device)
        if free < MIN_FREE_MEMORY_SHARE * total:  # during capture PyTorch cannot release cached memory
            torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        with self.use_stream(), _without_garbage_collection():
            graph.capture_begin(self.pool, capture_error_mode="thread_local")
            try:
                result = function()
            finally:
                graph.capture_end()
        return graph, result

    @contextmanager
    def use_stream(self) -> Iterator[None]:
        """Run on this stream, after earlier and before later work on the current stream."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            yield
        current.wait_stream(self.stream)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable garbage collection, because destroying a graph would break the capture of another one."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
