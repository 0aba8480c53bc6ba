"""Losses of all translators: sums over sentences, and label smoothing of pointer-generator mixtures."""

import pytest
import torch
from reference.tiny_translators import ALL, COPYING, RECURRENT, TRANSFORMERS, Translator, batch_of, build
from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.nn.copying import NOT_COPYABLE
from seqlab.objectives import CrossEntropy, CrossEntropyConfig, Loss, StepContext

CONFIGS = TRANSFORMERS | RECURRENT | COPYING


def gradients_of(model: Translator, loss: Loss) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    grads = torch.autograd.grad(loss.total, parameters, materialize_grads=True)
    return dict(zip(names, grads, strict=True))


@pytest.mark.parametrize("guided_attention", [0.0, 1.0])
@pytest.mark.parametrize("name", CONFIGS)
def test_losses_are_sums_over_sentences(name: str, guided_attention: float) -> None:
    model = build(CONFIGS[name])
    objective = CrossEntropy(CrossEntropyConfig(label_smoothing=0.1, guided_attention=guided_attention))
    whole, *alone = (objective(model, batch_of(rows), StepContext(step=0)) for rows in (ALL, *([i] for i in ALL)))
    found, parts = gradients_of(model, whole), [gradients_of(model, each) for each in alone]
    torch.testing.assert_close(whole.total, torch.stack([each.total for each in alone]).sum(), rtol=1e-5, atol=0)
    assert float(whole.count) == sum(float(each.count) for each in alone)
    for key in whole.logs:
        torch.testing.assert_close(whole.logs[key], sum(each.logs[key] for each in alone), rtol=1e-5, atol=0)
    scale = max(float(grad.abs().max()) for grad in found.values())
    for key, grad in found.items():
        expected = torch.stack([each[key] for each in parts]).sum(0)
        torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-5 * scale, msg=key)


@pytest.mark.parametrize("name", COPYING)
def test_a_mixture_is_smoothed_by_vocabulary_probabilities(name: str) -> None:
    model, batch = build(COPYING[name]), batch_of(ALL)
    assert batch.tgt_out is not None
    output, predicted = model(batch), batch.tgt_out != IGNORE
    total, nll = output.cross_entropy(batch.tgt_out, 0.1)
    assert output.pointer is not None
    gate, attention, src_ids, _ = output.pointer.select(predicted)
    generated = torch.sigmoid(gate) + torch.sigmoid(-gate) * (attention * (src_ids == NOT_COPYABLE)).sum(1)
    of_vocabulary = output.logits()[predicted].softmax(-1) * generated[:, None]
    torch.testing.assert_close(nll, -output.scores(batch.tgt_out).sum())
    torch.testing.assert_close(total, 0.9 * nll - 0.1 * of_vocabulary.log().mean(1).sum())
    copied = torch.zeros_like(of_vocabulary).scatter_add(
        1, src_ids.clamp_min(0), attention * (src_ids != NOT_COPYABLE) * torch.sigmoid(-gate)[:, None]
    )
    torch.testing.assert_close((of_vocabulary + copied).sum(1), torch.ones_like(generated))
    smoothed = 0.9 * nll - 0.1 * (of_vocabulary + copied).log().mean(1).sum()
    assert smoothed.item() < total.item(), "the sum is a bound of the smoothed cross entropy"
