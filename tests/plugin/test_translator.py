"""Consistency of a plugin's translator: the public checks, and steps with attention that equal a full pass."""

import pytest
import torch
from contracts.outside import outside_parts

from seqlab.testing import check_model, check_objective, token_pairs
from seqlab.testing.models import build


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_translator_passes_the_public_checks(kernel_size: int) -> None:
    with outside_parts():
        from seqlab_outside.convolutional import ConvolutionalConfig
        from seqlab_outside.focal import FocalConfig

        config = ConvolutionalConfig(d_model=16, kernel_size=kernel_size, num_encoder_layers=2, num_decoder_layers=3)
        check_model(config, token_pairs(), has_attention=True)
        check_objective(FocalConfig(gamma=1.5), config, token_pairs())
        model, batch = build(config, token_pairs()).eval(), token_pairs().all()
        with torch.inference_mode():
            output = model(batch, need_attention=True)
            _, state = model.start(batch, need_attention=True)
            for position, is_target in enumerate((batch.tgt_out != -100).T):
                step = model.step(batch.tgt_in[:, position], state)
                state = step.state
                expected = output.logits().log_softmax(-1)[:, position], output.attention[:, position]
                for stepwise, full in zip((step.scores, step.attention), expected, strict=True):
                    torch.testing.assert_close(stepwise[is_target], full[is_target], rtol=0, atol=1e-4)
