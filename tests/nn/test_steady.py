"""Steady functions against torch's, and element by element: where an element stands must not matter."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn.steady import steady_log_sum, steady_sigmoid_, steady_silu

FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "sigmoid": (lambda x: steady_sigmoid_(x.clone()), torch.sigmoid),
    "silu": (steady_silu, F.silu),
    "log_sum": (lambda x: steady_log_sum(x, x.flip(-1)), lambda x: torch.logaddexp(x, x.flip(-1))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_they_are_what_torch_computes(name: str) -> None:
    torch.manual_seed(0)
    steady, plain = FUNCTIONS[name]
    x = torch.cat((3 * torch.randn(1000), torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4])))
    torch.testing.assert_close(steady(x), plain(x))


@pytest.mark.parametrize("size", [1, 7, 37, 96, 250])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_element_depends_on_where_it_stands(name: str, size: int) -> None:
    torch.manual_seed(0)
    steady, _ = FUNCTIONS[name]
    x = 3 * torch.randn(701, size)
    whole = steady(x)
    for first, last in ((0, 333), (3, 4), (300, 701)):
        assert torch.equal(steady(x[first:last]), whole[first:last])
        assert torch.equal(steady(x[first:last].clone()), whole[first:last])
