"""Profiles of an update: shares of time by type of operation."""

from dataclasses import dataclass

import pytest
import torch

from benchmarks.lm_shapes import LmShape
from benchmarks.workers.lm_profile import OPERATION_TYPES, Profile, operation_type, shares
from benchmarks.workers.plain_gpt import PlainGpt
from benchmarks.workers.plain_rnn import PlainRnn


@dataclass
class Event:
    """Attributes of a torch profiler event that are read."""

    name: str
    self_cpu_time_total: float
    cpu_parent: "Event | None" = None


def test_time_is_assigned_by_enclosing_scope_or_operator() -> None:
    attention = Event("_CausalAttention", 1.0)
    optimizer = Event("Optimizer.step#AdamW.step", 2.0)
    events = [
        attention,
        optimizer,
        Event("aten::mm", 4.0, Event("aten::matmul", 0.0, attention)),
        Event("aten::mm", 8.0),
        Event("aten::add_", 16.0, optimizer),
        Event("aten::bmm", 32.0),
        Event("aten::native_dropout", 64.0, Event("aten::dropout", 0.0)),
        Event("aten::mm", 128.0, Event("aten::lstm", 0.0)),
        Event("aten::mm", 256.0, Event("_LstmLoopBackward", 0.0)),
    ]
    seconds = {"products": 8, "attention": 37, "recurrent layers": 384, "optimizer": 18, "rest": 64}
    assert shares(events) == pytest.approx({kind: time / 511 for kind, time in seconds.items()})
    assert shares([]) == {}


@pytest.mark.learning
@pytest.mark.parametrize("family", ["transformer", "lstm", "gru"])
def test_shares_of_a_real_update(family: str) -> None:
    heads = 2 if family == "transformer" else 0
    shape = LmShape(family, 32, num_layers=2, num_heads=heads, block_length=64, rows=4)  # type: ignore[arg-type]
    model = PlainGpt(shape, 30) if family == "transformer" else PlainRnn(shape, 30)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    ids = torch.randint(30, (4, 64))
    with Profile() as profile:
        profile.begin()
        logits = model(ids) if family == "transformer" else model(ids, None)[0]
        logits.sum().backward()
        optimizer.step()
    found = profile.shares()
    assert sum(found.values()) == pytest.approx(1.0)
    absent = "recurrent layers" if family == "transformer" else "attention"
    assert set(OPERATION_TYPES) - found.keys() == {absent}


def test_nothing_is_profiled_before_begin() -> None:
    with Profile() as profile:
        torch.ones(2).sum()
    assert profile.shares() == {}


def test_operation_type_uses_scopes_at_any_depth() -> None:
    event = Event("aten::mul", 1.0)
    outer = Event("autograd::engine::evaluate_function: _CausalAttentionBackward", 1.0)
    event.cpu_parent = Event("aten::copy_", 1.0, Event("_CausalAttentionBackward", 1.0, outer))
    assert operation_type(event) == "attention"
