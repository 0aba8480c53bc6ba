"""Counts of language models' floating-point operations against torch's `FlopCounterMode`."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.flops import TRAINING_PASSES
from benchmarks.lm_shapes import GATES, SHAPES, Family, LmShape, forward_flops, training_flops
from benchmarks.workers.plain_gpt import PlainGpt
from benchmarks.workers.plain_rnn import PlainCells

VOCAB_SIZE = 50
GPT = LmShape("transformer", 16, num_layers=3, num_heads=2, block_length=12, rows=2)


def test_gpt_training_flops_match_torch_except_for_masked_attention() -> None:
    model = PlainGpt(GPT, VOCAB_SIZE)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(torch.randint(VOCAB_SIZE, (GPT.rows, 12))).sum().backward()
    masked_multiply_adds = GPT.rows * GPT.num_layers * 2 * GPT.width * (12 * 11 // 2)
    masked_flops = TRAINING_PASSES * 2 * masked_multiply_adds
    assert training_flops(GPT, VOCAB_SIZE, [12] * GPT.rows) + masked_flops == counter.get_total_flops()


@pytest.mark.parametrize("family", list(GATES))
def test_recurrent_forward_flops_match_torch(family: Family) -> None:
    shape = LmShape(family, 16, num_layers=3, num_heads=0, block_length=7, rows=1)
    model, state = PlainCells(shape, VOCAB_SIZE), None
    with FlopCounterMode(display=False) as counter:
        for ids in torch.randint(VOCAB_SIZE, (1, 7)).split(1, dim=1):
            _, state = model(ids, state)
    assert forward_flops(shape, VOCAB_SIZE, 7) == counter.get_total_flops()


def test_each_shape_has_one_model_per_family() -> None:
    for shapes in SHAPES.values():
        assert [shape.family for shape in shapes] == ["transformer", "lstm", "gru"]
