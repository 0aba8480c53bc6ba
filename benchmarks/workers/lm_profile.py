"""Profile of an update on the CPU: shares of time by type of operation (`products` are matrix products)."""

from collections import defaultdict
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from torch.profiler import ProfilerActivity, profile

OPERATION_TYPES = ("products", "attention", "recurrent layers", "optimizer", "rest")
SCOPES = {
    **dict.fromkeys(("Attention", "attention", "_SplitHeads"), "attention"),
    **dict.fromkeys(("aten::lstm", "aten::gru", "RnnLayer", "rnn_layer", "Loop"), "recurrent layers"),
    "Optimizer.step": "optimizer",
}
"""Substrings of event names, and the type of all operations within such events."""
OPERATORS = {
    **dict.fromkeys(("aten::mm", "aten::addmm", "mkldnn::_linear_pointwise", "aten::mkldnn_linear"), "products"),
    **dict.fromkeys(("aten::bmm", "aten::baddbmm", "aten::baddbmm_"), "attention"),
}
"""Type of each other operator; in these models only attention uses batched matrix products."""


class Profile:
    """Context manager that profiles from the call of `begin` to its exit."""

    def __init__(self) -> None:
        self._profiler: profile | None = None
        self._shares: dict[str, float] = {}

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._profiler is not None:
            self._profiler.stop()
            self._shares = shares(self._profiler.events() or ())

    def begin(self) -> None:
        """Start profiling."""
        self._profiler = profile(activities=[ProfilerActivity.CPU])
        self._profiler.start()

    def shares(self) -> dict[str, float]:
        """Return the share of time of each of `OPERATION_TYPES` that occurs; empty if nothing was profiled."""
        return self._shares


def shares(events: Iterable[Any]) -> dict[str, float]:
    """Compute the share of the events' self time by type of operation."""
    found: dict[str, float] = defaultdict(float)
    for event in events:
        found[operation_type(event)] += event.self_cpu_time_total
    total = sum(found.values())
    return {kind: found[kind] / total for kind in OPERATION_TYPES if found[kind] > 0}


def operation_type(event: Any) -> str:
    """Return the type of an event: by its innermost enclosing scope, else by its name.

    The backward pass of a recurrent layer that is not fused has no scope: its time is in matrix products and the rest.
    """
    scope = event
    while scope is not None:
        for name, kind in SCOPES.items():
            if name in scope.name:
                return kind
        scope = scope.cpu_parent
    return OPERATORS.get(event.name, "rest")
