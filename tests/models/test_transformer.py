"""The Transformer against torch.nn.Transformer with the same weights, and its steps against its one pass."""

import pytest
import torch
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, Seq2SeqBatch, collate
from seqlab.models.transformer import Transformer, TransformerConfig

PAD, BOS, EOS, VOCAB = 0, 1, 2, 40
SRC = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15, 16], [17], [18, 19, 20, 21]]
TGT = [[25, 26, 27, 28, 29], [30], [31, 32, 33, 34, 35, 36, 37, 38, 39, 5, 6], [7, 8]]
VARIANTS = {
    "pre": TransformerConfig(d_model=32, d_ff=48, num_heads=4, norm="pre"),
    "post": TransformerConfig(d_model=32, d_ff=48, num_heads=4, norm="post", activation="gelu"),
    "learned": TransformerConfig(d_model=32, d_ff=48, num_heads=2, positions="learned", max_length=12),
    "rotary": TransformerConfig(
        d_model=32, d_ff=48, num_heads=4, positions="rotary", activation="swiglu", tied_embeddings="decoder"
    ),
    "untied": TransformerConfig(
        d_model=32, d_ff=48, num_heads=1, num_encoder_layers=1, num_decoder_layers=3, tied_embeddings="none"
    ),
}
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")
every_variant = pytest.mark.parametrize("name", VARIANTS)


def build(config: TransformerConfig) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(config, VOCAB, VOCAB, BOS, EOS).eval()
    with torch.no_grad():  # biases and norms that differ from their start, so that a wrong one shows
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch_of(rows: list[int], with_target: bool = True) -> Seq2SeqBatch:
    tgt = [TGT[i] for i in rows] if with_target else None
    return collate([SRC[i] for i in rows], tgt, rows, pad_id=PAD, bos_id=BOS, eos_id=EOS)


ALL = list(range(len(SRC)))


def copy_attention(own: nn.Module, torchs: nn.MultiheadAttention, *projections: str) -> None:
    torchs.in_proj_weight.copy_(torch.cat([getattr(own, name).weight for name in projections]))
    torchs.in_proj_bias.copy_(torch.cat([getattr(own, name).bias for name in projections]))
    torchs.out_proj.load_state_dict(own.project_out.state_dict())


@torch.no_grad()
def torch_transformer(own: Transformer) -> nn.Transformer:
    """Build torch's module with the same weights."""
    config = own.config
    module = nn.Transformer(
        config.d_model,
        config.num_heads,
        config.num_encoder_layers,
        config.num_decoder_layers,
        config.d_ff,
        0.0,
        config.activation,
        norm_first=config.norm == "pre",
        batch_first=True,
    ).eval()
    for layer, theirs in zip(own.encoder.layers, module.encoder.layers, strict=True):
        copy_attention(layer.attention, theirs.self_attn, "project_in")
        copy_shared(layer, theirs, ["attention_residual", "feed_forward_residual"])
    for layer, theirs in zip(own.decoder.layers, module.decoder.layers, strict=True):
        copy_attention(layer.attention, theirs.self_attn, "project_in")
        copy_attention(layer.cross_attention, theirs.multihead_attn, "project_query", "project_memory")
        copy_shared(layer, theirs, ["attention_residual", "cross_attention_residual", "feed_forward_residual"])
    for mine, theirs in ((own.encoder, module.encoder), (own.decoder, module.decoder)):
        if config.norm == "pre":
            theirs.norm.load_state_dict(mine.norm.state_dict())
        else:
            theirs.norm = None
    return module


def copy_shared(layer: nn.Module, theirs: nn.Module, residuals: list[str]) -> None:
    theirs.linear1.load_state_dict(layer.feed_forward.expand.state_dict())
    theirs.linear2.load_state_dict(layer.feed_forward.contract.state_dict())
    for i, residual in enumerate(residuals, start=1):
        getattr(theirs, f"norm{i}").load_state_dict(getattr(layer, residual).norm.state_dict())


@pytest.mark.parametrize("name", ["pre", "post", "learned", "untied"])
@pytest.mark.parametrize("training", [True, False])
def test_hidden_states_and_gradients_are_those_of_torch(name: str, training: bool) -> None:
    own = build(TransformerConfig(**{**vars(VARIANTS[name]), "dropout": 0.0})).train(training)
    module = torch_transformer(own)
    batch = batch_of(ALL)
    padding = torch.arange(batch.src.size(1)) >= batch.src_lengths[:, None]
    forbidden = torch.ones(batch.tgt_in.size(1), batch.tgt_in.size(1), dtype=torch.bool).triu(1)
    expected = module(
        own.encoder.embedding(batch.src),
        own.decoder.embedding(batch.tgt_in),
        tgt_mask=forbidden,
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
    )
    found = own(batch).hidden
    real = batch.tgt_out != IGNORE
    torch.testing.assert_close(found[real], expected[real], rtol=1e-4, atol=1e-4)
    weight = own.encoder.embedding.weight
    direction = torch.randn_like(found[real])
    (mine,) = torch.autograd.grad((found[real] * direction).sum(), weight)
    (theirs,) = torch.autograd.grad((expected[real] * direction).sum(), weight)
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


def forced_steps(model: Transformer, rows: list[int]) -> tuple[Tensor, list[Tensor | None]]:
    """Give the log-probabilities of the targets, step by step, with a cache."""
    batch = batch_of(rows)
    last_ids, state = model.start(batch_of(rows, with_target=False), need_attention=True)
    picked, attention = [], []
    for t in range(batch.tgt_out.size(1)):
        step = model.step(last_ids, state)
        last_ids, state = batch.tgt_out[:, t].clamp(min=0), step.state
        picked.append(step.scores.gather(1, last_ids[:, None]))
        attention.append(step.attention)
    return torch.cat(picked, dim=1).masked_fill(batch.tgt_out == IGNORE, 0.0), attention


@every_variant
def test_cached_steps_are_the_teacher_forced_pass(name: str) -> None:
    model, batch = build(VARIANTS[name]), batch_of(ALL)
    with torch.inference_mode():
        scores = model.score(batch)
        expected = model(batch).logits().log_softmax(-1).gather(2, batch.tgt_out.clamp(min=0)[..., None])[..., 0]
        found, _ = forced_steps(model, ALL)
    torch.testing.assert_close(scores, expected.masked_fill(batch.tgt_out == IGNORE, 0.0))
    torch.testing.assert_close(found, scores, rtol=0, atol=1e-4)


@every_variant
@torch.inference_mode()
def test_a_sentence_alone_gives_the_same_bits(name: str) -> None:
    model = build(VARIANTS[name])
    whole = model.score(batch_of(ALL))
    steps, _ = forced_steps(model, ALL)
    for i in ALL:
        length = len(TGT[i]) + 1
        assert torch.equal(model.score(batch_of([i]))[0], whole[i, :length])
        assert torch.equal(forced_steps(model, [i])[0][0], steps[i, :length])


@torch.inference_mode()
def test_attention_is_a_distribution_over_the_real_source() -> None:
    batch = batch_of(ALL)
    _, steps = forced_steps(build(VARIANTS["pre"]), ALL)
    for attention in steps:
        assert attention is not None
        assert attention.shape == batch.src.shape
        torch.testing.assert_close(attention.sum(1), torch.ones(len(ALL)))
        assert bool((attention[torch.arange(batch.src.size(1)) >= batch.src_lengths[:, None]] == 0).all())


SELECTIONS = {
    "spread to a beam": [0, 0, 1, 1, 2, 2, 3, 3],
    "reorder within": [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3],
    "drop sentences": [1, 1, 3, 3],
    "uneven": [0, 2, 2, 2, 3],
    "shuffled": [3, 1, 0, 2, 1],
    "one": [2],
}


@every_variant
@pytest.mark.parametrize("selection", SELECTIONS)
@torch.inference_mode()
def test_selected_rows_go_on_as_they_would_have(name: str, selection: str) -> None:
    """Rows that read the same ids have the same scores wherever they stand, also after a second selection."""
    model = build(VARIANTS[name])
    rows = torch.tensor(SELECTIONS[selection])
    first_ids = torch.tensor([5, 6, 7, 8])
    last_ids, state = model.start(batch_of(ALL, with_target=False))
    state = model.step(last_ids, state).state
    plain = state.fork()
    state = model.step(first_ids[rows], state.select(rows)).state
    again = torch.arange(len(rows)).flip(0)
    found = model.step(first_ids[rows][again], state.select(again))
    plain = model.step(first_ids, plain).state
    expected = model.step(first_ids, plain).scores[rows][again]
    torch.testing.assert_close(found.scores, expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_forks_do_not_see_each_other() -> None:
    model = build(VARIANTS["pre"])
    last_ids, state = model.start(batch_of(ALL, with_target=False))
    state = model.step(last_ids, state).state
    fork = state.fork()
    untouched = model.step(last_ids + 3, state.fork()).scores
    other = model.step(last_ids + 5, fork).state.select(torch.tensor([3, 1]))
    model.step(torch.tensor([9, 9]), other)
    assert torch.equal(model.step(last_ids + 3, state).scores, untouched)


def test_embeddings_are_tied_as_the_config_says() -> None:
    for name, count in (("pre", 1), ("rotary", 2), ("untied", 3)):
        model = build(VARIANTS[name])
        weights = {id(w) for w in (model.encoder.embedding.weight, model.decoder.embedding.weight)}
        weights.add(id(model.projection.weight))
        assert len(weights) == count
    with pytest.raises(ValueError, match="needs one vocabulary for both sides, but they have 40 and 41"):
        Transformer(VARIANTS["pre"], VOCAB, VOCAB + 1, BOS, EOS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_model": 30, "num_heads": 4}, "`d_model` 30 must be divisible by `num_heads` 4"),
        ({"num_encoder_layers": 0}, "`num_encoder_layers` must be at least 1, but is 0"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\), but is 1.0"),
    ],
)
def test_impossible_configs_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**fields)
