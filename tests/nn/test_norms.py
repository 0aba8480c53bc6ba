"""Layer norm and RMSNorm against their equations in numpy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqlab.nn.layers import NormKind, make_norm

EPS = {"layer_norm": 1e-5, "rms_norm": 1e-6}


def numpy_norm(kind: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    if kind == "layer_norm":
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPS[kind]) * weight + bias
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPS[kind]) * weight


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_values_equal_the_equation(kind: NormKind, scale: float) -> None:
    torch.manual_seed(0)
    norm = make_norm(kind, 12)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_()
    x = scale * (torch.randn(3, 5, 12) + 0.5)
    weight = norm.weight.detach().double().numpy()
    bias = norm.bias.detach().double().numpy() if kind == "layer_norm" else np.zeros(12)
    expected = torch.from_numpy(numpy_norm(kind, x.double().numpy(), weight, bias)).float()
    torch.testing.assert_close(norm(x), expected, rtol=1e-5, atol=1e-5)


def test_rms_norm_gradients_equal_the_equation() -> None:
    torch.manual_seed(0)
    norm = make_norm("rms_norm", 7).double()
    x, weight = torch.randn(2, 3, 7, dtype=torch.float64) + 0.5, torch.randn(7, dtype=torch.float64)

    def normalize(x: Tensor, weight: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(norm, {"weight": weight}, (x,))
        return found

    assert torch.autograd.gradcheck(normalize, (x.requires_grad_(), weight.requires_grad_()))
    with torch.no_grad():
        assert torch.equal(normalize(x, weight), normalize(x.clone().requires_grad_(), weight))


def test_rms_norm_gradients_equal_torch_for_any_strides() -> None:
    torch.manual_seed(0)
    seqlab_norm, torch_norm = make_norm("rms_norm", 12), nn.RMSNorm(12, eps=EPS["rms_norm"])
    base = torch.randn(3, 8, 12)
    views: list[Callable[[Tensor], Tensor]] = [
        lambda x: x,
        lambda x: x[:, :5],
        lambda x: x.transpose(0, 1),
        lambda x: x[0],
        lambda x: x[0, 0],
        lambda x: x.bfloat16(),
    ]
    for number, view in enumerate(views):
        results = []
        for norm in (seqlab_norm, torch_norm):
            leaf = base.clone().requires_grad_()
            norm.zero_grad()
            y = norm(view(leaf)).transpose(0, -1)
            (y * torch.arange(12.0).view(-1, *[1] * (y.dim() - 1))).sum().backward()
            results.append((y.detach(), leaf.grad, norm.weight.grad))
        torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5, msg=str(number))


def test_results_of_a_row_do_not_depend_on_other_rows() -> None:
    torch.manual_seed(0)
    for width in (4, 20, 120, 256):
        norm, x = make_norm("rms_norm", width), torch.randn(130, 3, width)
        with torch.inference_mode():
            full = norm(x)
            assert torch.equal(norm(x[:, :2]), full[:, :2])
            for start, end in ((0, 1), (5, 7), (60, 77), (129, 130)):
                assert torch.equal(norm(x[start:end].clone()), full[start:end]), (width, start)
                assert torch.equal(norm(x[start:end, 0].clone()), full[start:end, 0]), (width, start)
