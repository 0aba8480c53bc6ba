"""Config of the decoder-only Transformer: defaults, validation and initialization."""

import math
from typing import Any

import pytest
import torch

from seqlab.data.batch import collate_text
from seqlab.models import TransformerLm, TransformerLmConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig

VOCAB, EOS = 40, 2


def build(**fields: Any) -> TransformerLm:
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_ff": 48, "num_heads": 4, "num_layers": 3, "max_length": 64}
    return TransformerLm(TransformerLmConfig(**sizes | fields), VOCAB, EOS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_model": 30, "num_heads": 4}, "`d_model` 30 must be divisible by `num_heads` 4"),
        ({"d_model": 15, "num_heads": 3, "positions": "sinusoidal"}, "needs an even `d_model`, but it is 15"),
        ({"d_model": 20, "num_heads": 4}, "`positions: rotary` needs an even head size, but .* is 5 instead"),
        ({"max_length": 1}, "must be at least 2"),
        ({"dropout": 1.0}, "less than 1"),
        ({"num_layers": 0}, "must be at least 1"),
        ({"norm_kind": "batch_norm"}, "'layer_norm' or 'rms_norm'"),
        ({"num_encoder_layers": 2}, "num_encoder_layers"),
    ],
)
def test_invalid_configs_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformerLmConfig(**fields)


def test_odd_head_sizes_are_allowed_without_rotary_positions() -> None:
    TransformerLmConfig(d_model=15, num_heads=3, positions="learned")
    TransformerLmConfig(d_model=20, num_heads=4, positions="sinusoidal")


def test_data_configs_that_do_not_fit_are_refused() -> None:
    config = TransformerLmConfig(max_length=64)
    config.check_data(LanguageModellingConfig(train=["a"], block_length=64))
    with pytest.raises(ValueError, match=r"`data.block_length` \(65\) must be at most `model.max_length` \(64\)"):
        config.check_data(LanguageModellingConfig(train=["a"], block_length=65))
    contiguous = LanguageModellingConfig(train=["a"], block_length=64, documents="continuous", order="contiguous")
    with pytest.raises(ValueError, match=r"`data.order: contiguous` .* set `data.order: shuffled`"):
        config.check_data(contiguous)


def test_default_context_length_is_the_block_length() -> None:
    data = LanguageModellingConfig(train=["a"], block_length=96)
    assert TransformerLmConfig().resolve(data).max_length == 96
    assert TransformerLmConfig(max_length=128).resolve(data).max_length == 128
    with pytest.raises(ValueError, match="`max_length` is null: set it, or call `resolve` of the config"):
        TransformerLm(TransformerLmConfig(), VOCAB, EOS)
    # Longer contexts may work with rotary positions. Learned positions would be untrained.
    TransformerLmConfig(max_length=128).check_data(data)
    with pytest.raises(ValueError, match=r"has no training data for positions after `data.block_length` \(96\)"):
        TransformerLmConfig(positions="learned", max_length=128).check_data(data)


def test_every_field_is_documented() -> None:
    fields = TransformerLmConfig.__pydantic_fields__  # type: ignore[attr-defined]
    assert not [name for name, field in fields.items() if not field.description]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("positions", ["rotary", "sinusoidal", "learned"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "swiglu"])
@pytest.mark.parametrize("norm_kind", ["layer_norm", "rms_norm"])
def test_parameter_counts(tied: bool, positions: str, activation: str, norm_kind: str) -> None:
    model = build(tied_embeddings=tied, positions=positions, activation=activation, norm_kind=norm_kind, max_length=50)
    d, ff, layers = 32, 48, 3
    norm = 2 * d if norm_kind == "layer_norm" else d
    num_expansions = 2 if activation == "swiglu" else 1
    attention = 3 * d * (d + 1) + d * (d + 1)
    feed_forward = num_expansions * ff * (d + 1) + d * (ff + 1)
    embeddings = VOCAB * d * (1 if tied else 2) + (50 * d if positions == "learned" else 0)
    expected = embeddings + layers * (attention + feed_forward + 2 * norm) + norm
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert (model.projection.weight is model.embedding.weight) == tied


def test_last_layers_of_residual_branches_have_a_smaller_initial_scale() -> None:
    model = build(d_model=128, d_ff=256, num_layers=8)
    base_std = math.sqrt(2 / (5 * 128))
    for layer in model.layers:
        for last, first in (
            (layer.attention.project_out, layer.attention.project_in),
            (layer.feed_forward.contract, layer.feed_forward.expand),
        ):
            assert float(first.weight.detach().std()) == pytest.approx(base_std, rel=0.05)
            assert float(last.weight.detach().std()) == pytest.approx(base_std / math.sqrt(2 * 8), rel=0.05)
            assert not first.bias.any()
            assert not last.bias.any()


@pytest.mark.parametrize("field", ["dropout", "attention_dropout", "activation_dropout"])
def test_dropout_acts_in_training_only(field: str) -> None:
    model = build(**{"dropout": 0.0, field: 0.5})
    batch = collate_text([list(range(3, 30))], [0], pad_id=0, start_id=1)
    first, second = (model.train()(batch).hidden for _ in range(2))
    assert not torch.equal(first, second)
    first, second = (model.eval()(batch).hidden for _ in range(2))
    assert torch.equal(first, second)


def test_only_learned_positions_limit_the_length() -> None:
    model = build(positions="learned", max_length=8).eval()
    long = collate_text([list(range(3, 12))], [0], pad_id=0, start_id=1)
    with pytest.raises(ValueError, match="learned positions for 8 tokens, but a sequence has 9"):
        model.score(long)
    for positions in ("rotary", "sinusoidal"):
        assert build(positions=positions, max_length=8).eval().score(long).shape == (1, 9)
