"""Decoding by a CUDA graph: the kernels of a step are recorded once for each search, then started by a single call.

A step of a Transformer is hundreds of small kernels, which take the host longer to start than the device to run. The
first step of a search reads one row per sentence, the second is the first one of a fixed size, the third is recorded.
Sentences that leave the search keep their rows in the graph; nobody reads what these give.

Shapes: N rows of the search, K rows of each sentence, G rows of the graph: K for each sentence of the second step.
"""

import copy
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from seqlab.models.interfaces import State, StaticStepper, Step, Stepper


def static_state(stepper: Stepper, state: State, steps: int) -> State | None:
    """Give a state a fixed size, with room for `steps` more steps; None where the model or the state has none."""
    return stepper.static(state, steps) if isinstance(stepper, StaticStepper) else None


def graphed(
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
    """A state of the model as it is: before the second step, and for all steps where it can have no fixed size."""

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
        self.places = torch.arange(len(last_ids), device=last_ids.device)
        """(N,) int64: which row of the graph each row of the search is."""
        self.repeat = Repeated(self._step, last_ids.device)

    def step(self, last_ids: Tensor) -> Step:
        """Read `last_ids` (N,) and score the next."""
        self.last_ids.index_copy_(0, self.places, last_ids)
        step = self.repeat()
        # Copies, as the next step writes to the same memory.
        attention = None if step.attention is None else step.attention.index_select(0, self.places)
        return Step(step.scores.index_select(0, self.places), self, attention)

    def _step(self) -> Step:
        return self.stepper.step(self.last_ids, self.state)

    def select(self, rows: Tensor) -> "GraphedState":
        """Keep rows (N',) int64 and reorder them within their sentence: K of each sentence that stays."""
        sources = self.places[rows]
        if self.rows > 1:
            rank = torch.arange(len(rows), device=rows.device) % self.rows
            self.places = sources - sources % self.rows + rank
            order = torch.arange(len(self.last_ids), device=rows.device).index_copy_(0, self.places, sources)
            self.state = self.state.select(order)
        else:
            self.places = sources
        return self

    def fork(self) -> "GraphedState":
        """Copy, so that changes to one leave the other alone."""
        twin = copy.copy(self)
        twin.state, twin.last_ids = self.state.fork(), self.last_ids.clone()
        twin.repeat = Repeated(twin._step, self.last_ids.device)
        return twin


class Repeated:
    """A function that is run by its first call, recorded by the second, and repeated from then on.

    What it returns stands in the same memory each time.
    """

    def __init__(self, function: Callable[[], Step], device: torch.device) -> None:
        self.function, self.device = function, device
        self.was_run = False
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> Step:
        """Compute it."""
        if not self.was_run:  # libraries allocate what they need on a stream before its kernels are recorded
            self.was_run = True
            with _recording_stream(self.device):
                return self.function()
        if self.graph is None:
            idle = _idle_memory[self.device]
            memory = idle.pop() if idle else GraphMemory(self.device)
            weakref.finalize(self, idle.append, memory).atexit = False
            self.graph, self.found = memory.record(self.function)
        self.graph.replay()
        return self.found


class GraphMemory:
    """Memory that one graph after the other uses for what is computed between the kernels; two at once must not."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.pool = device, torch.cuda.graph_pool_handle()
        # PyTorch gives a pool up with its last graph, so an own one keeps it.
        self.anchor, _ = self.record(lambda: torch.zeros(1, device=device))

    def record(self, function: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
        """Record what a function starts on the device. `torch.cuda.graph` would also free all unused memory first."""
        graph = torch.cuda.CUDAGraph()
        with _recording_stream(self.device):
            graph.capture_begin(self.pool, capture_error_mode="thread_local")
            try:
                found = function()
            finally:
                graph.capture_end()
        return graph, found


_idle_memory: defaultdict[torch.device, list[GraphMemory]] = defaultdict(list)


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@contextmanager
def _recording_stream(device: torch.device) -> Iterator[None]:
    """Work on the stream that graphs are recorded on: after what was started before, and before what comes after."""
    stream, current = _stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)
