"""Conversion of translator weights: equal logits, complete weights, positions."""

import pytest
import torch

from benchmarks.scale import ModelSizes, Norm
from benchmarks.workers.seqlab_runs import transformer_config
from benchmarks.workers.train_torch import PlainTransformer
from benchmarks.workers.weights import marian_weights, sinusoidal_positions, torch_weights
from seqlab.data.batch import collate
from seqlab.models import Transformer
from seqlab.nn.embedding import sinusoid_table


def make_sizes(norm: Norm) -> ModelSizes:
    return ModelSizes(30, d_model=16, d_ff=24, num_heads=2, num_encoder_layers=2, num_decoder_layers=1, norm=norm)


def random_model(norm: Norm) -> Transformer:
    torch.manual_seed(1)
    model = Transformer(transformer_config(make_sizes(norm), 0.1), 30, 30, bos_id=1, eos_id=2).eval()
    for parameter in model.parameters():  # initial zeros and ones would hide exchanged weights
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_torch_computes_the_same_logits(norm: Norm) -> None:
    model = random_model(norm)
    rows = [[4, 5, 6], [7, 8, 9, 10, 11], [12]]
    batch = collate(rows, rows[::-1], range(3), pad_id=0, bos_id=1, eos_id=2)
    plain = PlainTransformer(make_sizes(norm), 0.1).eval()
    plain.load_state_dict(torch_weights(dict(model.named_parameters()), make_sizes(norm)))
    assert batch.tgt_in is not None
    logits = plain({"src": batch.src, "src_lengths": batch.src_lengths, "tgt_in": batch.tgt_in})
    expected = model(batch).logits()
    is_token = batch.tgt_out != -100
    torch.testing.assert_close(logits[is_token], expected[is_token], rtol=1e-4, atol=1e-4)


def test_marian_weights_are_complete() -> None:
    weights = dict(random_model("post").named_parameters())
    mapped = marian_weights(weights, make_sizes("post"))
    assert sum(value.numel() for value in mapped.values()) == sum(value.numel() for value in weights.values())


def test_marian_weights_of_pre_norm_models_are_refused() -> None:
    with pytest.raises(ValueError, match="after the residual sums"):
        marian_weights(dict(random_model("pre").named_parameters()), make_sizes("pre"))


def test_sinusoidal_positions_match_seqlab() -> None:
    torch.testing.assert_close(sinusoidal_positions(256, 16), sinusoid_table(256, 16), rtol=1e-6, atol=2e-5)
