"""Repeated backward passes through a retained graph: the same gradients in any order."""

import pytest
import torch
from reference.tiny_models import VOCAB_SIZE, make_batch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqlab.models import RecurrentConfig, RecurrentTranslator, Transformer, TransformerConfig
from seqlab.nn.cpu.repeated_linear import RepeatedLinear
from seqlab.nn.layers import Dropout
from seqlab.objectives import CrossEntropyConfig, ScheduledSamplingConfig
from seqlab.objectives.cross_entropy import CrossEntropy
from seqlab.objectives.loss import StepContext
from seqlab.objectives.scheduled_sampling import ScheduledSampling
from seqlab.training.accumulator import seeded

RECURRENT: dict[str, RecurrentConfig] = {
    "lstm": RecurrentConfig(family="lstm", hidden_size=16, copying=True, rotary_cross_attention=True),
    "lstm, without input feeding": RecurrentConfig(family="lstm", hidden_size=16, input_feeding=False, attention="dot"),
    "gru": RecurrentConfig(family="gru", hidden_size=16, attention="additive"),
    "rnn": RecurrentConfig(family="rnn", hidden_size=16),
}


def compute_loss(model: nn.Module, *, is_scheduled: bool = False) -> Tensor:
    objective = (
        ScheduledSampling(ScheduledSamplingConfig(least_reference=0.3, decay_steps=1))
        if is_scheduled
        else CrossEntropy(CrossEntropyConfig(label_smoothing=0.1))
    )
    context = StepContext(step=100, generator=torch.Generator().manual_seed(1))
    return objective(model, make_batch([(5, 6), (3, 4)]), context).total


def assert_gradients_repeat(loss: Tensor, parameters: list[nn.Parameter]) -> None:
    """Compute all gradients, then each separately, then all again."""
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    for parameter, expected in zip(parameters, first, strict=True):
        (single_grad,) = torch.autograd.grad(loss, parameter, retain_graph=True)
        assert single_grad.equal(expected)
    for repeated, expected in zip(torch.autograd.grad(loss, parameters), first, strict=True):
        assert repeated.equal(expected)


SCHEDULED = [name for name, config in RECURRENT.items() if not config.copying]
"""Scheduled sampling does not support models that copy."""


@pytest.mark.parametrize(
    ("name", "is_scheduled"),
    [
        *((name, False) for name in (*RECURRENT, "transformer")),
        *((name, True) for name in (*SCHEDULED, "transformer")),
    ],
)
def test_gradients_of_a_translator_repeat(name: str, is_scheduled: bool) -> None:
    torch.manual_seed(1)
    model: nn.Module
    if name == "transformer":
        config = TransformerConfig(d_model=16, d_ff=32, num_heads=2, num_encoder_layers=1, num_decoder_layers=1)
        model = Transformer(config, VOCAB_SIZE, VOCAB_SIZE, bos_id=1, eos_id=2)
    else:
        model = RecurrentTranslator(RECURRENT[name], VOCAB_SIZE, VOCAB_SIZE, bos_id=1, eos_id=2)
    loss = compute_loss(model.train(), is_scheduled=is_scheduled)
    used = [p for p, g in zip(model.parameters(), all_gradients(loss, model), strict=True) if g is not None]
    assert_gradients_repeat(loss, used)


def all_gradients(loss: Tensor, model: nn.Module) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, allow_unused=True)


def test_saved_factors_of_an_earlier_backward_pass_are_dropped() -> None:
    """The first pass covers all steps without the weight's gradient, the second only the first step."""
    weight, x = nn.Parameter(torch.eye(2)), torch.ones(1, 2, requires_grad=True)
    multiply = RepeatedLinear(weight, None, torch.float32)
    first_step = multiply(x)
    second_step = multiply(first_step)
    torch.autograd.grad(second_step.sum(), x, retain_graph=True)
    (found,) = torch.autograd.grad(first_step.sum(), weight)
    assert found.equal(torch.ones(2, 2))


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointed_dropout_draws_the_same_mask_again(use_reentrant: bool) -> None:
    """As in a micro-step of training, dropout has its own seed."""
    drop = Dropout(0.5)
    x = torch.ones(8, 64, requires_grad=True)
    with seeded(3, torch.device("cpu")):
        y = checkpoint(lambda x: x + drop(drop(x)), x, use_reentrant=use_reentrant)
        torch.rand(100)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.equal(y.detach())
