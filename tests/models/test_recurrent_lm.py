"""Recurrent language models: scores against the layers of torch.nn, activation penalties, dropout."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from reference.recurrent_models import recurrent_lm
from reference.stub_vocabulary import StubVocabulary
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, TextBatch, collate_text
from seqlab.models import CarryingLm, EncoderLmConfig, RecurrentEncoderConfig
from seqlab.nn.recurrent import RecurrentKind
from seqlab.objectives import CrossEntropy, CrossEntropyConfig, StepContext
from seqlab.training.accumulator import seeded

VOCAB, EOS = 60, 2
FAMILIES: dict[str, tuple[EncoderLmConfig, type[nn.RNN | nn.LSTM | nn.GRU]]] = {
    "rnn": (
        recurrent_lm("rnn"),
        nn.RNN,
    ),
    "lstm": (
        recurrent_lm("lstm"),
        nn.LSTM,
    ),
    "gru": (
        recurrent_lm("gru"),
        nn.GRU,
    ),
}

DROPOUTS = ("embedding_dropout", "input_dropout", "dropout", "output_dropout", "weight_dropout")


def with_dropout(family: RecurrentKind, name: str = "", rate: float = 0.0, **fields: Any) -> EncoderLmConfig:
    """Return a config with a rate of one dropout, and 0 for all others."""
    rates = dict.fromkeys(DROPOUTS, 0.0) | ({name: rate} if name else {})
    embedding_dropout = rates.pop("embedding_dropout")
    layers = RecurrentEncoderConfig(family=family, hidden_size=16, num_layers=2, bidirectional=False, **rates)  # type: ignore[arg-type]
    return EncoderLmConfig(encoder=layers, embedding_dropout=embedding_dropout, **fields)


def build(config: EncoderLmConfig) -> CarryingLm:
    torch.manual_seed(0)
    return CarryingLm(config, StubVocabulary(VOCAB))


def batch_of(lengths: list[int]) -> TextBatch:
    """Draw rows of ids, padded on the right."""
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(3, VOCAB, (length,), generator=generator).tolist() for length in lengths]
    return collate_text(rows, range(len(rows)), pad_id=0, start_id=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_equal_torch_layers(family: str) -> None:
    config, torch_class = FAMILIES[family]
    model, batch = build(config).eval(), batch_of([9, 4, 7])
    torch_layers = torch_class(16, 16, num_layers=2, batch_first=True)
    for name, parameter in torch_layers.named_parameters():
        tensor_type, source, depth = name.split("_")
        layer = model.encoder.layers.layers[int(depth[1:])][0]
        if tensor_type == "weight":
            parameter.data = (layer.from_input if source == "ih" else layer.from_hidden).weight.data
        else:  # one bias instead of two
            parameter.data = layer.from_input.bias.data * (source == "ih")
    with torch.no_grad():
        hidden, _ = torch_layers(F.embedding(batch.tgt_in, model.weight))
        log_probs = F.log_softmax(hidden @ model.weight.t(), dim=-1)
        expected = log_probs.gather(2, batch.tgt_out.clamp_min(0)[..., None])[..., 0]
        torch.testing.assert_close(model.score(batch), expected.where(batch.tgt_out != IGNORE, 0.0))


def penalty_by_definition(hidden: Tensor, undropped: Tensor, lengths: list[int], alpha: float, beta: float) -> float:
    """Sum the activation penalties of Merity et al. 2017 position by position.

    Each position adds alpha times the mean square of its hidden state. Each position except the first of a row adds
    beta times the mean square of the difference to the previous state, before dropout.
    """
    total = 0.0
    for row, length in enumerate(lengths):
        for t in range(length):
            total += alpha * float((hidden[row, t] ** 2).mean())
            if t > 0:
                total += beta * float(((undropped[row, t] - undropped[row, t - 1]) ** 2).mean())
    return total


@pytest.mark.parametrize(("alpha", "beta"), [(2000.0, 0.0), (0.0, 1000.0), (2000.0, 1000.0)])
@pytest.mark.parametrize("output_dropout", [0.0, 0.5])
def test_penalties_are_sums_over_predicted_tokens(alpha: float, beta: float, output_dropout: float) -> None:
    config = with_dropout("lstm", "output_dropout", output_dropout)
    model, lengths = build(config).train(), [9, 1, 7]
    batch = batch_of(lengths)

    def loss(alpha: float, beta: float) -> tuple[Tensor, dict[str, Tensor]]:
        objective = CrossEntropy(CrossEntropyConfig(activation_penalty=alpha, slowness_penalty=beta))
        with seeded(3, torch.device("cpu")):
            found = objective(model, batch, StepContext(0))
        return found.total, found.logs

    with seeded(3, torch.device("cpu")):
        output = model(batch)
    assert output.undropped is not None
    assert (output.hidden == 0).any() == (output_dropout > 0)
    assert not (output.undropped[0] == 0).any()
    expected = penalty_by_definition(output.hidden.detach(), output.undropped.detach(), lengths, alpha, beta)
    total, logs = loss(alpha, beta)
    plain, _ = loss(0.0, 0.0)
    assert expected > 0
    assert float(logs["penalty"]) == pytest.approx(expected, rel=1e-5)
    assert float((total - plain).detach()) == pytest.approx(expected, rel=1e-4)
    assert float(logs["nll"]) == pytest.approx(float(plain.detach()), rel=1e-5)
    (grad,) = torch.autograd.grad(total, [model.weight])
    (plain_grad,) = torch.autograd.grad(plain, [model.weight])
    assert not torch.allclose(grad, plain_grad)


def test_embedding_dropout_drops_all_occurrences_of_a_token() -> None:
    """A dropped token has no gradient as an input. Vectors of other tokens are scaled by 1 / (1 - p)."""
    config = with_dropout("gru", "embedding_dropout", 0.5, tied_embeddings=False)
    model, batch = build(config).train(), batch_of([200])
    ids = batch.tgt_in.unique()
    with seeded(3, torch.device("cpu")):
        (grad,) = torch.autograd.grad(model(batch).hidden.sum(), [model.weight])
    is_dropped = (grad[ids] == 0).all(1)
    assert 0.25 < float(is_dropped.float().mean()) < 0.75
    assert bool((grad[ids][~is_dropped] != 0).any(1).all())
    reference = build(replace(config, embedding_dropout=0.0))
    weight = model.weight.detach().clone()
    weight[ids[is_dropped]] = 0
    weight[ids[~is_dropped]] *= 2
    reference.weight.data = weight
    with seeded(3, torch.device("cpu")):
        torch.testing.assert_close(reference(batch).hidden, model(batch).hidden)


@pytest.mark.parametrize("dropout", DROPOUTS)
def test_each_dropout_acts_only_in_training(dropout: str) -> None:
    model = build(with_dropout("lstm", dropout, 0.5))
    batch = batch_of([9, 4])
    first, second = (model(batch).hidden.detach() for _ in range(2))
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(batch).hidden, model(batch).hidden)
