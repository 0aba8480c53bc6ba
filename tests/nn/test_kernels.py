"""Reference kernels: selection, agreement with the fast kernels, second derivatives, and `torch.func`."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from seqlab.nn import kernels
from seqlab.nn.attention import CrossAttention, SelfAttention
from seqlab.nn.kernels import KERNELS, cross_entropy, reference_kernels, repeated_linear
from seqlab.nn.layers import Linear
from seqlab.nn.recurrent import Recurrent
from seqlab.nn.transformer import FeedForward

SIZE = 16
Layer = Callable[[Tensor], Tensor]


def cross_attend(x: Tensor) -> Tensor:
    layer = CrossAttention(SIZE, 2)
    found: Tensor = layer(x, layer.prepare(x.flip(1), torch.zeros(1, 1, 1, x.size(1))))[0]
    return found


def cross_entropy_sum(x: Tensor) -> Tensor:
    weight, targets = nn.Parameter(torch.randn(40, SIZE)), torch.arange(x[..., 0].numel()) % 40
    return cross_entropy(x.flatten(0, 1), weight, targets, 0.1)[0]


def apply_repeated_linear(x: Tensor) -> Tensor:
    multiply = repeated_linear(nn.Parameter(0.2 * torch.randn(SIZE, SIZE)), nn.Parameter(torch.randn(SIZE)))
    return multiply(torch.tanh(multiply(x.flatten(0, 1))))


def make_recurrent(kind: str) -> Layer:
    def run(x: Tensor) -> Tensor:
        lengths = torch.tensor([x.size(1), x.size(1) - 2])
        output: Tensor = Recurrent(kind, SIZE, 8, 2, bidirectional=True)(x, lengths=lengths).output  # type: ignore[arg-type]
        return output

    return run


LAYERS: dict[str, Layer] = {
    "linear": lambda x: Linear(SIZE, 3)(x),
    "feed-forward": lambda x: FeedForward(SIZE, 32)(x),
    "swiglu": lambda x: FeedForward(SIZE, 32, "swiglu")(x),
    "self-attention": lambda x: SelfAttention(SIZE, 2)(x),
    "causal, rotary": lambda x: SelfAttention(SIZE, 2, rotary=True)(x, is_causal=True),
    "cross-attention": cross_attend,
    "cross-entropy": cross_entropy_sum,
    "repeated linear": apply_repeated_linear,
    "rnn": make_recurrent("rnn"),
    "gru": make_recurrent("gru"),
    "lstm": make_recurrent("lstm"),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def run_layer(name: str, x: Tensor) -> Tensor:
    torch.manual_seed(1)  # the same weights each time
    return LAYERS[name](x)


def value_and_gradient(name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    y = run_layer(name, leaf)
    generator = torch.Generator().manual_seed(2)
    (gradient,) = torch.autograd.grad((y.float() * torch.randn(y.shape, generator=generator)).sum(), leaf)
    return y.detach().float(), gradient


@pytest.mark.parametrize("has_bias", [False, True])
def test_fused_attention_equals_cpu_attention(monkeypatch: pytest.MonkeyPatch, has_bias: bool) -> None:
    """PyTorch's fused attention, run on the CPU: over sequences, and for one decoding step with a KV cache."""
    query, key, value = torch.randn(2, 3, 4, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 8)
    bias = torch.zeros(2, 1, 4, 6).masked_fill(torch.rand(2, 1, 4, 6) < 0.3, float("-inf")) if has_bias else None
    expected, _ = kernels.attention(query, key, value, bias)
    monkeypatch.setattr(kernels, "runs_on_cpu", lambda name, x: False)
    for attend in (kernels.attention, kernels.step_attention):
        found, weights = attend(query, key, value, bias)
        assert weights is None
        torch.testing.assert_close(found, expected)


@every_layer
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_equal_the_reference_kernels(name: str, dtype: torch.dtype) -> None:
    x = torch.randn(2, 70, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = value_and_gradient(name, x)
        with torch.no_grad():
            evaluated = run_layer(name, x).float()
        with reference_kernels():
            expected = value_and_gradient(name, x)
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    for actual, reference in ((found[0], expected[0]), (found[1], expected[1]), (evaluated, expected[0])):
        assert float((actual - reference).norm() / reference.norm()) < tolerance


@every_layer
def test_reference_kernels_have_second_derivatives(name: str) -> None:
    x = torch.randn(2, 4, SIZE, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    with reference_kernels():
        hvp = torch.autograd.functional.hvp(lambda x: run_layer(name, x).square().sum(), x, torch.ones_like(x))[1]
        step = 1e-2
        gradients = [
            torch.autograd.functional.vjp(lambda x: run_layer(name, x).square().sum(), x + sign * step)[1]
            for sign in (1, -1)
        ]
    torch.testing.assert_close(hvp, (gradients[0] - gradients[1]) / (2 * step), rtol=0.05, atol=0.05)


@every_layer
def test_reference_kernels_under_torch_func(name: str) -> None:
    """Gradients of three inputs, computed at once, equal those computed separately."""
    inputs = torch.randn(3, 2, 4, SIZE, generator=torch.Generator().manual_seed(0))

    def loss(x: Tensor) -> Tensor:
        return run_layer(name, x).square().sum()

    with reference_kernels():
        found = torch.func.vmap(torch.func.grad(loss), randomness="same")(inputs)
        expected = torch.stack([torch.func.grad(loss)(x) for x in inputs])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_reference_kernels_are_selected_by_name() -> None:
    assert not any(map(kernels.is_reference, KERNELS))
    with reference_kernels("linear", "dropout"):
        assert [name for name in KERNELS if kernels.is_reference(name)] == ["linear", "dropout"]
        with reference_kernels():
            assert all(map(kernels.is_reference, KERNELS))
        assert not kernels.is_reference("attention")
    assert not any(map(kernels.is_reference, KERNELS))
    with pytest.raises(ValueError, match="There is no kernel `atention`: choose one of linear, repeated_linear"):
        reference_kernels("atention").__enter__()


def test_contexts_exit_in_any_order() -> None:
    """Two threads can enter and leave in any order."""
    first, second = reference_kernels("linear"), reference_kernels()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert all(map(kernels.is_reference, KERNELS))
    second.__exit__(None, None, None)
    assert not any(map(kernels.is_reference, KERNELS))


def test_invalid_environment_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernels.ENVIRONMENT_VARIABLE, "true")
    with pytest.raises(ValueError, match=r"SEQLAB_REFERENCE_KERNELS must be 0, 1 or names .* is 'true'\. .*`true`"):
        kernels._read_environment()


@pytest.mark.parametrize(
    ("value", "expected"), [("1 ", set(KERNELS)), ("0", set()), ("dropout, attention", {"dropout", "attention"})]
)
def test_environment_variable_names_kernels(value: str, expected: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernels.ENVIRONMENT_VARIABLE, value)
    assert kernels._read_environment() == expected


def test_environment_variable_selects_kernels_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernels.ENVIRONMENT_VARIABLE, "dropout, attention")
    code = "from seqlab.nn.kernels import is_reference; print(is_reference('dropout'), is_reference('linear'))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["True", "False"]
