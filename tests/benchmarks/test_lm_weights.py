"""Conversion of language-model weights: equal logits of other implementations, in blocks and step by step."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from reference.stub_vocabulary import StubVocabulary
from torch import Tensor

from benchmarks.lm_shapes import Family, LmShape
from benchmarks.workers.generate_plain_gpt import generate_with_cache, generate_without_cache
from benchmarks.workers.gpt2 import build_gpt2
from benchmarks.workers.lm_runs import lm_config
from benchmarks.workers.lm_weights import cell_weights, gpt2_weights, plain_gpt_weights, rnn_weights
from benchmarks.workers.plain_gpt import PlainGpt
from benchmarks.workers.plain_rnn import PlainCells, PlainRnn
from seqlab.data.batch import TextBatch
from seqlab.models import CarryingLm, TransformerLm

VOCAB_SIZE = 30
GPT = LmShape("transformer", 16, num_layers=11, num_heads=2, block_length=12, rows=3)  # layer numbers with two digits
RECURRENT: tuple[Family, ...] = ("lstm", "gru")


def recurrent_shape(family: Family) -> LmShape:
    return LmShape(family, 16, num_layers=3, num_heads=0, block_length=12, rows=3)


def random_model(shape: LmShape, tmp_path: Path) -> TransformerLm | CarryingLm:
    torch.manual_seed(1)
    config = lm_config(shape, tmp_path, 0.1).model
    model: TransformerLm | CarryingLm = config.build(StubVocabulary(VOCAB_SIZE), StubVocabulary(VOCAB_SIZE)).eval()
    for parameter in model.parameters():  # initial zeros and ones would hide exchanged weights
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def random_ids(shape: LmShape) -> Tensor:
    return torch.randint(VOCAB_SIZE, (shape.rows, shape.block_length))


def logits_of(model: TransformerLm | CarryingLm, ids: Tensor, carry: dict[str, Tensor] | None = None) -> Tensor:
    batch = TextBatch(ids, ids, torch.arange(len(ids)), ids.numel())
    return model(batch).logits() if carry is None else model(batch, carry).logits()


def weights_of(model: torch.nn.Module) -> Mapping[str, Tensor]:
    return {name: value.detach() for name, value in model.named_parameters()}


def test_plain_gpt_and_gpt2_compute_the_same_logits(tmp_path: Path) -> None:
    model, ids = random_model(GPT, tmp_path), random_ids(GPT)
    plain = PlainGpt(GPT, VOCAB_SIZE).eval()
    plain.load_state_dict(plain_gpt_weights(weights_of(model)))
    gpt2 = build_gpt2(GPT, VOCAB_SIZE, weights_of(model)).eval()
    expected = logits_of(model, ids)
    torch.testing.assert_close(plain(ids), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gpt2(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)


def test_each_weight_of_a_gpt_is_used_once(tmp_path: Path) -> None:
    weights = weights_of(random_model(GPT, tmp_path))
    size = sum(value.numel() for value in weights.values())
    for mapped in (plain_gpt_weights(weights), gpt2_weights(weights)):
        assert sum(value.numel() for value in mapped.values()) == size
    for model in (PlainGpt(GPT, VOCAB_SIZE), build_gpt2(GPT, VOCAB_SIZE, weights)):
        assert sum(parameter.numel() for parameter in model.parameters()) == size  # tied embeddings
    with pytest.raises(KeyError, match="rotary"):
        plain_gpt_weights({**weights, "layers.0.rotary.weight": torch.zeros(1)})


@pytest.mark.parametrize("family", RECURRENT)
def test_recurrent_models_compute_the_same_logits_over_two_blocks(family: Family, tmp_path: Path) -> None:
    shape = recurrent_shape(family)
    model, plain, cells = random_model(shape, tmp_path), PlainRnn(shape, VOCAB_SIZE), PlainCells(shape, VOCAB_SIZE)
    assert isinstance(model, CarryingLm)
    plain.load_state_dict(rnn_weights(weights_of(model), family))
    cells.load_state_dict(cell_weights(weights_of(model), family))
    first, second = random_ids(shape), random_ids(shape)
    carry = model(TextBatch(first, first, torch.arange(shape.rows), first.numel())).carry
    expected = torch.cat([logits_of(model, first), logits_of(model, second, carry)], dim=1)
    first_logits, state = plain.eval()(first, None)
    found = torch.cat([first_logits, plain(second, state)[0]], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    steps, state = [], None
    for column in torch.cat([first, second], dim=1).split(1, dim=1):
        logits, state = cells(column, state)
        steps.append(logits)
    torch.testing.assert_close(torch.cat(steps, dim=1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", RECURRENT)
def test_biases_that_seqlab_lacks_are_frozen(family: Family) -> None:
    shape = recurrent_shape(family)
    model = PlainRnn(shape, VOCAB_SIZE)
    model(random_ids(shape), None)[0].square().sum().backward()
    for layer in range(shape.num_layers):
        gates = getattr(model.layers, f"bias_hh_l{layer}").grad.split(shape.width)
        has_gradient = [bool(gate.abs().sum() > 0) for gate in gates]
        assert has_gradient == ([False, False, True] if family == "gru" else [False] * 4)


def test_generation_with_and_without_cache_is_equal() -> None:
    torch.manual_seed(2)
    model = PlainGpt(GPT, VOCAB_SIZE).eval()
    start = torch.randint(VOCAB_SIZE, (3, 1))
    with torch.inference_mode():
        uncached, cached = (
            read(model, start, GPT.block_length, True) for read in (generate_without_cache, generate_with_cache)
        )
        assert torch.equal(uncached, cached)
        assert uncached.shape == (3, 1 + GPT.block_length)
        longer = generate_without_cache(model, start, GPT.block_length + 4, True)
        last = model(longer[:, -GPT.block_length - 1 : -1])[:, -1].argmax(-1)
    assert torch.equal(longer[:, : uncached.size(1)], uncached)
    assert torch.equal(longer[:, -1], last)
