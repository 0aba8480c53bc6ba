"""Losses of all translators: public checks, and label smoothing of pointer-generator models."""

from typing import Any

import pytest
import torch
from reference.tiny_translators import ALL, COPYING, RECURRENT, TRANSFORMERS, batch_of, build

from seqlab.data.batch import IGNORE
from seqlab.nn.copying import NOT_COPYABLE
from seqlab.objectives import CrossEntropyConfig, RDropConfig
from seqlab.testing import check_objective, token_pairs

CONFIGS = TRANSFORMERS | RECURRENT | COPYING


@pytest.mark.parametrize(
    "objective",
    [
        CrossEntropyConfig(label_smoothing=0.1),
        CrossEntropyConfig(label_smoothing=0.1, guided_attention=1.0),
        RDropConfig(label_smoothing=0.1),
    ],
)
@pytest.mark.parametrize("name", CONFIGS)
def test_objectives_pass_the_public_checks(name: str, objective: Any) -> None:
    check_objective(objective, CONFIGS[name], token_pairs())


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
