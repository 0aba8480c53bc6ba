"""Translators of all families: public checks of models, and scores against the logits of one pass."""

import pytest
import torch
from reference.tiny_translators import ALL, COPYING, RECURRENT, TRANSFORMERS, batch_of, build

from seqlab.data.batch import IGNORE
from seqlab.testing import check_model, token_pairs

VARIANTS = TRANSFORMERS | RECURRENT | COPYING
every_variant = pytest.mark.parametrize("name", VARIANTS)


@every_variant
def test_models_pass_the_public_checks(name: str) -> None:
    """Steps equal one pass, rows do not depend on the batch, attention is a distribution, and so on."""
    check_model(VARIANTS[name], token_pairs(), has_attention=True)


@every_variant
@torch.inference_mode()
def test_scores_equal_the_logits_of_one_pass(name: str) -> None:
    model, batch = build(VARIANTS[name]), batch_of(ALL)
    output = model(batch)
    expected = output.logits().log_softmax(-1).gather(2, batch.tgt_out.clamp(min=0)[..., None])[..., 0]
    if output.pointer is not None:
        all_positions = torch.ones_like(batch.tgt_out, dtype=torch.bool)
        mixed = output.pointer.select(all_positions).mix(expected.flatten(), batch.tgt_out.flatten())
        expected = mixed.view_as(expected)
    torch.testing.assert_close(model.score(batch), expected.masked_fill(batch.tgt_out == IGNORE, 0.0))
