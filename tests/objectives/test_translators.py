"""Losses of all translators: sums over sentences, and label smoothing of pointer-generator models."""

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
    together, *singles = (objective(model, batch_of(rows), StepContext(step=0)) for rows in (ALL, *([i] for i in ALL)))
    found, single_gradients = gradients_of(model, together), [gradients_of(model, single) for single in singles]
    torch.testing.assert_close(
        together.total, torch.stack([single.total for single in singles]).sum(), rtol=1e-5, atol=0
    )
    assert float(together.count) == sum(float(single.count) for single in singles)
    for key in together.logs:
        torch.testing.assert_close(together.logs[key], sum(single.logs[key] for single in singles), rtol=1e-5, atol=0)
    scale = max(float(grad.abs().max()) for grad in found.values())
    for key, grad in found.items():
        expected = torch.stack([grads[key] for grads in single_gradients]).sum(0)
        torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-5 * scale, msg=key)


@pytest.mark.parametrize("name", COPYING)
def test_pointer_generators_smooth_with_the_vocabulary_probabilities(name: str) -> None:
    model, batch = build(COPYING[name]), batch_of(ALL)
    assert batch.tgt_out is not None
    output, predicted = model(batch), batch.tgt_out != IGNORE
    total, nll = output.cross_entropy(batch.tgt_out, 0.1)
    assert output.pointer is not None
    gate, attention, src_ids, _ = output.pointer.select(predicted)
    generation_prob = torch.sigmoid(gate) + torch.sigmoid(-gate) * (attention * (src_ids == NOT_COPYABLE)).sum(1)
    vocabulary_probs = output.logits()[predicted].softmax(-1) * generation_prob[:, None]
    torch.testing.assert_close(nll, -output.scores(batch.tgt_out).sum())
    torch.testing.assert_close(total, 0.9 * nll - 0.1 * vocabulary_probs.log().mean(1).sum())
    copy_probs = torch.zeros_like(vocabulary_probs).scatter_add(
        1, src_ids.clamp_min(0), attention * (src_ids != NOT_COPYABLE) * torch.sigmoid(-gate)[:, None]
    )
    torch.testing.assert_close((vocabulary_probs + copy_probs).sum(1), torch.ones_like(generation_prob))
    smoothed = 0.9 * nll - 0.1 * (vocabulary_probs + copy_probs).log().mean(1).sum()
    assert smoothed.item() < total.item(), "the loss is an upper bound of the smoothed cross entropy"
