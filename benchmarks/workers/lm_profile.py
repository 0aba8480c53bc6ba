"""Where the time of an update goes: what torch's profiler saw on the CPU, in a few shares."""

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
"""Parts of names, and what everything belongs to that happens within an event of such a name."""
OPERATORS = {
    **dict.fromkeys(("aten::mm", "aten::addmm", "mkldnn::_linear_pointwise", "aten::mkldnn_linear"), "products"),
    **dict.fromkeys(("aten::bmm", "aten::baddbmm", "aten::baddbmm_"), "attention"),
}
"""What other operators belong to: in these models batched products are attention's alone."""


class Profile:
    """Watch what happens between `begin` and the end of a context."""

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
        """Start to watch."""
        self._profiler = profile(activities=[ProfilerActivity.CPU])
        self._profiler.start()

    def shares(self) -> dict[str, float]:
        """Give the shares of `PARTS` that took any time; nothing where nothing was watched."""
        return self._shares


def shares(events: Iterable[Any]) -> dict[str, float]:
    """Divide the time of events, that of their children apart, among `PARTS`."""
    found: dict[str, float] = defaultdict(float)
    for event in events:
        found[part_of(event)] += event.self_cpu_time_total
    total = sum(found.values())
    return {part: found[part] / total for part in PARTS if found[part] > 0}


def part_of(event: Any) -> str:
    """Tell which of `PARTS` an event belongs to: by the innermost scope around it, else by its own name.

    The backward pass of a layer that torch computes step by step has no scope: it is in products and the rest.
    """
    around = event
    while around is not None:
        for name, part in SCOPES.items():
            if name in around.name:
                return part
        around = around.cpu_parent
    return OPERATORS.get(event.name, "rest")
