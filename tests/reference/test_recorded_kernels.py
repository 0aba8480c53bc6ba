"""Emulated CUDA graphs: operations that synchronize the host with a GPU are refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from reference.recorded_kernels import Recorder
from torch import Tensor

SYNCHRONIZING_OPERATIONS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x[0]),
    "bool": lambda x: bool(x.any()),
    "list": lambda x: x.tolist(),
    "copy": lambda x: x.cpu(),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "mask": lambda x: x[x > 0],
    "assignment by a mask": lambda x: x.__setitem__(x > 0, torch.ones(2)),
    "repeated": lambda x: x.repeat_interleave(x.long()),
    "equal": lambda x: torch.equal(x, x + 1),
    "unique": lambda x: x.unique_consecutive(),
}


@pytest.mark.parametrize("name", SYNCHRONIZING_OPERATIONS)
@torch.inference_mode()
def test_synchronizing_operations_are_refused(name: str) -> None:
    x = torch.tensor([1.0, 0.0, 2.0])
    with Recorder(), pytest.raises(AssertionError, match="would wait"):
        SYNCHRONIZING_OPERATIONS[name](x)


@torch.inference_mode()
def test_other_operations_are_recorded() -> None:
    x, index = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([2, 0])
    with Recorder():
        torch.where(x > 0, x, 0.0).to(torch.bfloat16)[index].float().masked_fill(index > 0, 1.0).repeat_interleave(2)
        torch.zeros(2, 3, dtype=torch.bool).index_copy_(1, index, torch.ones(2, 2, dtype=torch.bool))
