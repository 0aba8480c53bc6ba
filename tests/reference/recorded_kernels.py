"""Emulation of CUDA graphs on the CPU: operations are recorded with their tensors and replayed.

As on a GPU, Python code does not run again: numbers read from tensors or counted by the host keep their values.
Operations that would need a synchronization are refused.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seqlab.models.interfaces import Step

WAITING = (
    *("aten::item", "aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero", "aten::resolve_neg"),
    *("aten::nonzero", "aten::where", "aten::masked_select", "aten::unique_consecutive", "aten::_unique2"),
    *("aten::repeat_interleave.self_Tensor", "aten::repeat_interleave.Tensor", "aten::allclose"),
    *("aten::to.dtype_layout", "aten::to.device", "aten::_to_copy"),
)
"""Operations whose result the host needs, for example as the size of a tensor, or that copy to the host. The other
overloads of `where` and `to` need no synchronization."""


class Recorder(TorchDispatchMode):
    """Run and record operations."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Callable[..., Any], Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Refuse operations that synchronize, and indexing by a mask, which counts its elements."""
        name, masks = func.name(), [each for each in tree_leaves(args[1:]) if isinstance(each, Tensor)]
        counts = name.startswith("aten::index") and any(each.dtype == torch.bool for each in masks)
        if (counts and "copy" not in name) or name in WAITING:
            raise AssertionError(f"{name} would wait for the device")
        found = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, found))
        return found


class RepeatedOnCpu:
    """`search.cuda_graph.RecordedFunction`, for tests."""

    recorded = 0
    """Number of recorded graphs."""
    replayed = 0
    """Number of replays."""

    def __init__(self, device: torch.device) -> None:
        self.was_run = False
        self.recorder: Recorder | None = None

    def __call__(self, function: Callable[[], Step]) -> Step:
        if not self.was_run:
            self.was_run = True
            return function()
        if self.recorder is None:
            type(self).recorded += 1
            self.recorder = Recorder()
            with self.recorder:
                self.found = function()
            return self.found
        type(self).replayed += 1
        for func, args, kwargs, found in self.recorder.operations:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(found), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)
        return self.found
