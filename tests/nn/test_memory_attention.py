"""Encoder-decoder attention of recurrent decoders: equations in numpy, steps, gradients, batch invariance."""

import numpy as np
import pytest
import torch
from torch import Tensor

from seqlab.nn.memory_attention import AttentionKind, MemoryAttention
from seqlab.nn.precision import prepare_inference

SIZE, QUERIES, LENGTHS = 8, 5, [7, 3, 20]
VARIANTS: list[tuple[AttentionKind, bool]] = [
    ("additive", False),
    ("dot", False),
    ("general", False),
    ("dot", True),
    ("general", True),
]
every_variant = pytest.mark.parametrize(("kind", "rotary"), VARIANTS)


def make_attention(kind: AttentionKind, rotary: bool = False) -> MemoryAttention:
    torch.manual_seed(1)
    module = MemoryAttention(kind, SIZE, rotary).eval()
    with torch.no_grad():
        for parameter in module.parameters():  # biases are initially 0
            parameter.normal_()
    return module


def make_inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Return queries (B, T, D), memory (B, S, D) and its lengths (B,)."""
    torch.manual_seed(2)
    return (
        torch.randn(len(LENGTHS), QUERIES, SIZE),
        torch.randn(len(LENGTHS), max(LENGTHS), SIZE),
        torch.tensor(LENGTHS),
    )


def rotate(x: np.ndarray) -> np.ndarray:
    """Rotate vectors (T, D) by their positions. Their halves are real and imaginary parts (RoPE, Su et al. 2021)."""
    half = x.shape[1] // 2
    angles = np.arange(len(x))[:, None] * 10000.0 ** (-np.arange(half) / half)
    product = (x[:, :half] + 1j * x[:, half:]) * np.exp(1j * angles)
    return np.concatenate([product.real, product.imag], axis=1)


def expected_scores(module: MemoryAttention, query: np.ndarray, memory: np.ndarray, rotary: bool) -> np.ndarray:
    """Compute the scores (T, S) of one sentence by the papers' equations."""
    weights = {name: parameter.detach().double().numpy() for name, parameter in module.named_parameters()}
    match module.kind, rotary:
        case "dot", False:
            return query @ memory.T
        case "general", False:
            return query @ (memory @ weights["project_memory.weight"].T).T
        case "dot", True:
            return rotate(query) @ rotate(memory).T
        case "general", True:
            keys = memory @ weights["project_memory.weight"].T + weights["project_memory.bias"]
            return rotate(query) @ rotate(keys).T
        case _:
            keys = memory @ weights["project_memory.weight"].T + weights["project_memory.bias"]
            queries = query @ weights["project_query.weight"].T
            return np.tanh(queries[:, None] + keys[None]) @ weights["direction"]


@pytest.mark.parametrize("has_gradient", [True, False])
@every_variant
def test_outputs_and_weights_equal_the_equations(kind: AttentionKind, rotary: bool, has_gradient: bool) -> None:
    module, (query, memory, lengths) = make_attention(kind, rotary), make_inputs()
    with torch.set_grad_enabled(has_gradient):
        contexts, weights = (each.detach() for each in module(query, module.prepare(memory, lengths)))
    for row, length in enumerate(LENGTHS):
        values = memory[row, :length].double().numpy()
        scores = np.exp(expected_scores(module, query[row].double().numpy(), values, rotary))
        probs = scores / scores.sum(1, keepdims=True)
        np.testing.assert_allclose(weights[row, :, :length], probs, atol=1e-5)
        np.testing.assert_allclose(contexts[row], probs @ values, atol=1e-5)
        assert bool((weights[row, :, length:] == 0).all())


@every_variant
def test_single_steps_equal_one_pass(kind: AttentionKind, rotary: bool) -> None:
    module, (query, memory, lengths) = make_attention(kind, rotary), make_inputs()
    prepared = module.prepare(memory, lengths)
    contexts, weights = module(query, prepared)
    repeated_step = module.repeated_step(prepared)
    for position in range(QUERIES):
        single = query[:, position : position + 1]
        for found, step_weights in (module.step(single, prepared, position), repeated_step(single, position)):
            torch.testing.assert_close(found, contexts[:, position : position + 1])
            torch.testing.assert_close(step_weights, weights[:, position : position + 1])


@every_variant
def test_repeated_steps_have_the_gradients_of_one_pass(kind: AttentionKind, rotary: bool) -> None:
    module, (query, memory, lengths) = make_attention(kind, rotary).train(), make_inputs()
    query.requires_grad_()
    memory.requires_grad_()
    output_grad, tensors = torch.randn(query.shape), [query, memory, *module.parameters()]
    repeated_step = module.repeated_step(prepared := module.prepare(memory, lengths))
    by_steps = torch.cat(
        [repeated_step(each[:, None], position)[0] for position, each in enumerate(query.unbind(1))], dim=1
    )
    found = torch.autograd.grad((by_steps * output_grad).sum(), tensors, retain_graph=True, allow_unused=True)
    expected = torch.autograd.grad((module(query, prepared)[0] * output_grad).sum(), tensors, allow_unused=True)
    for grad, expected_grad in zip(found, expected, strict=True):
        assert grad is not None
        assert expected_grad is not None
        torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@every_variant
@torch.inference_mode()
def test_steps_do_not_depend_on_other_sentences_and_padding(
    kind: AttentionKind, rotary: bool, dtype: torch.dtype
) -> None:
    """Other sentences and padding do not change any bit."""
    module, (query, memory, lengths) = make_attention(kind, rotary), make_inputs()
    prepare_inference(module, torch.device("cpu"), dtype)
    prepared = module.prepare(memory, lengths)
    for row, length in enumerate(LENGTHS):
        single_memory = module.prepare(memory[row : row + 1, :length], lengths[row : row + 1])
        for position in range(QUERIES):
            single = query[:, position : position + 1]
            batched, _ = module.step(single, prepared, position)
            assert torch.equal(module.step(single[row : row + 1], single_memory, position)[0][0], batched[row])
