"""Profile of an update on the CPU: shares of time by type of operation."""

from collections import defaultdict
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from torch.profiler import ProfilerActivity, profile

PARTS = ("products", "attention", "recurrent layers", "optimizer", "rest")
SCOPES = {
    **dict.fromkeys(("Attention", "attention", "_SplitHeads"), "attention"),
    **dict.fromkeys(("aten::lstm", "aten::gru", "RnnLayer", "rnn_layer", "Loop"), "recurrent layers"),
    "Optimizer.step": "optimizer",
}
"""Substrings of event names, and the part to which all time within such events belongs."""
OPERATORS = {
    **dict.fromkeys(("aten::mm", "aten::addmm", "mkldnn::_linear_pointwise", "aten::mkldnn_linear"), "products"),
    **dict.fromkeys(("aten::bmm", "aten::baddbmm", "aten::baddbmm_"), "attention"),
}
"""Part of each other operator: only attention uses batched products in these models."""


class Profile:
    """Context manager that profiles from `begin` to its end."""

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
        """Return the share of each of `PARTS` with nonzero time; empty if nothing was profiled."""
        return self._shares


def shares(events: Iterable[Any]) -> dict[str, float]:
    """Sum the self time of events by part."""
    found: dict[str, float] = defaultdict(float)
    for event in events:
        found[part_of(event)] += event.self_cpu_time_total
    total = sum(found.values())
    return {part: found[part] / total for part in PARTS if found[part] > 0}


def part_of(event: Any) -> str:
    """Return the part of an event: by its innermost enclosing scope, else by its own name.

    The backward pass of a recurrent layer that is not fused has no scope: its time is in products and the rest.
    """
    around = event
    while around is not None:
        for name, part in SCOPES.items():
            if name in around.name:
                return part
        around = around.cpu_parent
    return OPERATORS.get(event.name, "rest")
