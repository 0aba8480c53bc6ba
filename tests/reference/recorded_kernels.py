"""Emulation of CUDA graphs on the CPU: operations are recorded with their tensors and replayed.

As on a GPU, a replay does not run Python code: numbers that Python read or counted keep their recorded values.
Operations that need a synchronization with the host are refused.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seqlab.models.interfaces import Step

SYNCHRONIZING_OPERATIONS = (
    *("aten::item", "aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero", "aten::resolve_neg"),
    *("aten::nonzero", "aten::where", "aten::masked_select", "aten::unique_consecutive", "aten::_unique2"),
    *("aten::repeat_interleave.self_Tensor", "aten::repeat_interleave.Tensor", "aten::allclose"),
    *("aten::to.dtype_layout", "aten::to.device", "aten::_to_copy"),
)
"""Operations that copy to the host, or whose result the host needs (for example as the size of a tensor).

Other overloads of `where` and `to` need no synchronization.
"""


class Recorder(TorchDispatchMode):
    """Runs and records operations."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Callable[..., Any], Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Refuse operations that synchronize, and indexing by a mask, which counts its elements."""
        name, masks = func.name(), [each for each in tree_leaves(args[1:]) if isinstance(each, Tensor)]
        indexes_by_mask = name.startswith("aten::index") and any(each.dtype == torch.bool for each in masks)
        if (indexes_by_mask and "copy" not in name) or name in SYNCHRONIZING_OPERATIONS:
            raise AssertionError(f"{name} would wait for the device")
        found = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, found))
        return found


class CpuRecordedFunction:
    """Replacement of `search.cuda_graph.RecordedFunction` that records and replays on the CPU."""

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
            results = func(*args, **kwargs)
            for old, new in zip(tree_leaves(found), tree_leaves(results), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)
        return self.found
