"""What a CUDA graph does, on the CPU: operations are recorded with the tensors that they read, and run again.

Nothing else of Python runs again, as on a GPU: a number that was read from a tensor, or counted by the host, stays what
it was. An operation that would make the host wait for the device is refused.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seqlab.models.interfaces import Step

WAITING = ("_local_scalar_dense", "nonzero", "aten::equal", "unique", "masked_select", "interleave.Tensor")
"""Parts of the names of operations whose result the host needs, be it for the size of a tensor."""


class Recorder(TorchDispatchMode):
    """Run operations and remember them."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Callable[..., Any], Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Refuse what waits, and what an index that is a mask would count."""
        name, masks = func.name(), [each for each in tree_leaves(args[1:]) if isinstance(each, Tensor)]
        counts = "index.Tensor" in name and any(each.dtype == torch.bool for each in masks)
        if counts or any(part in name for part in WAITING):
            raise AssertionError(f"{name} would wait for the device")
        found = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, found))
        return found


class RepeatedOnCpu:
    """`search.cuda_graph.Repeated`, for tests."""

    recorded = 0
    """How many graphs there were."""
    replayed = 0
    """How often one was run again."""

    def __init__(self, function: Callable[[], Step], device: torch.device) -> None:
        self.function = function
        self.was_run = False
        self.recorder: Recorder | None = None

    def __call__(self) -> Step:
        if not self.was_run:
            self.was_run = True
            return self.function()
        if self.recorder is None:
            type(self).recorded += 1
            self.recorder = Recorder()
            with self.recorder:
                self.found = self.function()
            return self.found
        type(self).replayed += 1
        for func, args, kwargs, found in self.recorder.operations:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(found), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)
        return self.found
