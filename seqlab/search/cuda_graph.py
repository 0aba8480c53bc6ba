"""Decoding by a CUDA graph: the kernels of a step are recorded once for each search, then started by a single call.

A step of a Transformer is hundreds of small kernels, which take the host longer to start than the device to run. The
first step of a search reads one row per sentence, the second is the first one of a fixed size, the third is recorded.
Sentences that leave the search keep their rows in the graph; nobody reads what these give.

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

from seqlab.models.interfaces import State, StaticStepper, Step, Stepper

T = TypeVar("T")
MIN_FREE_MEMORY_SHARE = 1 / 16
"""With a smaller share of the device's memory free, PyTorch gives back what it keeps before a graph is recorded."""


def static_state(stepper: Stepper, state: State, steps: int) -> State | None:
    """Give a state a fixed size, with room for `steps` more steps; None where the model or the state has none."""
    return stepper.static_state(state, steps) if isinstance(stepper, StaticStepper) else None


def cuda_graph_step(
    stepper: Stepper, state: State, device: torch.device, rows: int, steps: int
) -> tuple[Callable[[Tensor, Any], Step], State]:
    """Return a model's `step` and the state that it begins with; on a GPU a graph takes most of the steps.

    `rows`: K, from the second step on. `steps`: how many there may be.
    """
    if not has_graphs(device):
        return stepper.step, state
    return (lambda last_ids, state: state.step(last_ids)), GrowingState(stepper, state, rows, steps)


def has_graphs(device: torch.device) -> bool:
    """Tell whether kernels of a device can be recorded."""
    return device.type == "cuda"


@dataclass(frozen=True)
class GrowingState:
    """The model's own state, before the second step, and after it where the state can have no fixed size."""

    stepper: Stepper
    state: State
    rows: int
    """K, from the second step on."""
    steps: int
    """How many there may be, those that were taken counted."""
    taken: int = 0

    def step(self, last_ids: Tensor) -> Step:
        """Read `last_ids` (N,) and score the next."""
        if self.taken == 1:
            static = static_state(self.stepper, self.state, self.steps - 1)
            if static is not None:
                return GraphedState(self.stepper, static, self.rows, last_ids).step(last_ids)
        step = self.stepper.step(last_ids, self.state)
        return step._replace(state=replace(self, state=step.state, taken=self.taken + 1))

    def select(self, rows: Tensor) -> "GrowingState":
        """Keep, reorder and repeat rows (N',) int64."""
        return replace(self, state=self.state.select(rows))

    def fork(self) -> "GrowingState":
        """Copy, so that changes to one leave the other alone."""
        return replace(self, state=self.state.fork())


class GraphedState:
    """A state of a fixed size, and the graph of its step."""

    def __init__(self, stepper: Stepper, state: State, rows: int, last_ids: Tensor) -> None:
        self.stepper, self.state, self.rows = stepper, state, rows
        self.last_ids = last_ids.clone()
        """(G,) int64, what the graph reads."""
        self.graph_rows = torch.arange(len(last_ids), device=last_ids.device)
        """(N,) int64: which row of the graph each row of the search is."""
        self.repeat = RecordedFunction(last_ids.device)

    def step(self, last_ids: Tensor) -> Step:
        """Read `last_ids` (N,) and score the next."""
        self.last_ids.index_copy_(0, self.graph_rows, last_ids)
        step = self.repeat(self._step)
        # Copies, as the next step writes to the same memory.
        attention = None if step.attention is None else step.attention.index_select(0, self.graph_rows)
        return Step(step.scores.index_select(0, self.graph_rows), self, attention)

    def _step(self) -> Step:
        return self.stepper.step(self.last_ids, self.state)

    def select(self, rows: Tensor) -> "GraphedState":
        """Keep rows (N',) int64 and reorder them within their sentence: K of each sentence that stays."""
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
        """Copy, so that changes to one leave the other alone."""
        twin = copy.copy(self)
        twin.state, twin.last_ids = self.state.fork(), self.last_ids.clone()
        twin.repeat = RecordedFunction(self.last_ids.device)
        return twin


class RecordedFunction:
    """A function that is run by its first call, recorded by the second, and repeated from then on.

    What it returns stands in the same memory each time. The function comes with each call: if it were kept, a state
    that owns this would own itself, and its memory would wait for the garbage collector.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.memory: GraphMemory | None = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, function: Callable[[], Step]) -> Step:
        """Compute it."""
        if self.memory is None:  # libraries allocate what they need on a stream before its kernels are recorded
            self.memory = GraphMemory.idle(self.device)
            with self.memory.stream_in_turn():
                return function()
        if self.graph is None:
            self.graph, self.found = self.memory.record(function)
            weakref.finalize(self, GraphMemory.give_back, self.memory).atexit = False
        self.graph.replay()
        return self.found


class GraphMemory:
    """A stream that graphs are recorded on, and memory for what is computed between their kernels.

    One graph after the other uses it, never two at once. To destroy a graph may free what libraries allocated for its
    stream, so that graphs in use do not share one.
    """

    _idle: ClassVar[defaultdict[torch.device, list["GraphMemory"]]] = defaultdict(list)

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()
        # PyTorch frees a pool with the last graph that was recorded into it: this one is never destroyed.
        with torch.inference_mode(False):
            self.anchor, _ = self.record(lambda: torch.zeros(1, device=device))

    @classmethod
    def idle(cls, device: torch.device) -> "GraphMemory":
        """Take memory that no graph uses, or make some."""
        try:
            return cls._idle[device].pop()
        except IndexError:
            return cls(device)

    def give_back(self) -> None:
        """Let another graph use it."""
        self._idle[self.device].append(self)

    def record(self, function: Callable[[], T]) -> tuple[torch.cuda.CUDAGraph, T]:
        """Record what a function starts on the device; `torch.cuda.graph` would free all unused memory each time."""
        free, total = torch.cuda.mem_get_info(self.device)
        if free < MIN_FREE_MEMORY_SHARE * total:  # while recording, PyTorch frees nothing of what it keeps
            torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        with self.stream_in_turn(), _without_garbage_collection():
            graph.capture_begin(self.pool, capture_error_mode="thread_local")
            try:
                found = function()
            finally:
                graph.capture_end()
        return graph, found

    @contextmanager
    def stream_in_turn(self) -> Iterator[None]:
        """Work on the stream: after what was started before, and before what comes after."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            yield
        current.wait_stream(self.stream)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Let no graph be destroyed meanwhile, which would break the one that is recorded."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
