"""Look-ups step after step against those of autograd."""

import gc
import weakref

import pytest
import torch
from torch import Tensor

from seqlab.nn.deferred_lookup import DeferredLookup, look_up

ROWS, STEPS, VOCAB, SIZE = 3, 5, 11, 8


def chain(weight: Tensor, first: Tensor, kind: str, is_deferred: bool) -> Tensor:
    """Look up at all steps but two what the sum so far predicts."""
    lookup, total, outputs = DeferredLookup(weight, ROWS, STEPS), first, []
    for step in range(1, STEPS - 1):
        logits = (total @ weight.t()).detach()
        rows = logits.argmax(-1) if kind == "ids" else logits.softmax(-1)
        total = torch.tanh(total + (lookup(rows, step) if is_deferred else look_up(rows, weight)))
        outputs.append(total)
    return torch.stack(outputs)


@pytest.mark.parametrize("kind", ["ids", "shares"])
def test_gradients_are_those_of_autograd(kind: str) -> None:
    print("seed 0")
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(VOCAB, SIZE, generator=generator, requires_grad=True)
    first = torch.randn(ROWS, SIZE, generator=generator, requires_grad=True)
    outputs = [chain(weight, first, kind, is_deferred) for is_deferred in (True, False)]
    assert outputs[0].equal(outputs[1])
    scale = torch.randn(outputs[0].shape, generator=generator)
    found, expected = (torch.autograd.grad((each * scale).sum(), (weight, first)) for each in outputs)
    for own, autograds in zip(found, expected, strict=True):
        torch.testing.assert_close(own, autograds)


def test_shares_wait_in_the_precision_of_products() -> None:
    """In bf16 what is kept for the backward pass is half as large, and the gradient is nearly that of fp32."""
    torch.manual_seed(0)
    weight = torch.randn(VOCAB, SIZE, requires_grad=True)
    shares, direction = torch.rand(STEPS, ROWS, VOCAB).softmax(-1), torch.randn(STEPS, ROWS, SIZE)
    gradients = []
    for enabled in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            lookup = DeferredLookup(weight, ROWS, STEPS)
            found = torch.stack([lookup(shares[step], step) for step in range(STEPS)])
        assert {kept.dtype for kept in lookup.rows.values()} == {torch.bfloat16 if enabled else torch.float32}
        torch.testing.assert_close(found, shares @ weight)
        gradients.append(torch.autograd.grad((found * direction).sum(), weight)[0])
    assert gradients[0].dtype == torch.float32
    torch.testing.assert_close(*gradients, rtol=0.05, atol=0.05)


def test_nothing_looked_up_has_no_gradient() -> None:
    weight = torch.ones(VOCAB, SIZE, requires_grad=True)
    DeferredLookup(weight, ROWS, STEPS)
    weight.sum().backward()
    assert weight.grad is not None
    assert weight.grad.equal(torch.ones(VOCAB, SIZE))


@pytest.mark.parametrize("steps", [(), (1, 2)])
def test_nothing_is_left_behind_a_backward_pass(steps: tuple[int, ...]) -> None:
    gc.collect()
    gc.disable()
    try:
        weight = torch.randn(VOCAB, SIZE, requires_grad=True)
        lookup = DeferredLookup(weight, ROWS, STEPS)
        alive = weakref.ref(lookup)
        (weight.sum() + sum(lookup(torch.tensor([1, 2, 3]), step).sum() for step in steps)).backward()
        del lookup
        assert alive() is None
    finally:
        gc.enable()
