"""Elementwise functions against torch's, and independence of an element's position."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn.cpu import elementwise

FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "sigmoid": (elementwise.sigmoid, torch.sigmoid),
    "silu": (elementwise.silu, F.silu),
    "log_add": (lambda x: elementwise.log_add(x, x.flip(-1)), lambda x: torch.logaddexp(x, x.flip(-1))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_equal_torch(name: str) -> None:
    torch.manual_seed(0)
    function, torch_function = FUNCTIONS[name]
    x = torch.cat((3 * torch.randn(1000), torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4])))
    torch.testing.assert_close(function(x), torch_function(x))


@pytest.mark.parametrize("size", [1, 7, 37, 96, 250])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_elements_do_not_depend_on_their_position(name: str, size: int) -> None:
    torch.manual_seed(0)
    function, _ = FUNCTIONS[name]
    x = 3 * torch.randn(701, size)
    full = function(x)
    for first, last in ((0, 333), (3, 4), (300, 701)):
        assert torch.equal(function(x[first:last]), full[first:last])
        assert torch.equal(function(x[first:last].clone()), full[first:last])
