"""Decoder-only Transformer: other implementations with the same weights, cached steps, batches, search."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from models.batches import assert_same_hidden_states, check_batches
from reference.exhaustive import all_sequences, best
from reference.torch_encoder import copy_encoder_layers
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, TextBatch, collate_prompts, collate_text
from seqlab.data.text_segments import TextSegments, collate_packed
from seqlab.models import TransformerLm, TransformerLmConfig
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.testing import check_model, check_stepper, texts
from seqlab.testing.models import build as build_model

PAD, BOS, EOS, VOCAB = 0, 1, 2, 40
ROWS = [[5, 6, 7, EOS], [*range(8, 25), EOS], [25, EOS], [26, 27, 28, 5, 9, EOS]]
SIZES: dict[str, Any] = {"d_model": 32, "d_ff": 48, "num_heads": 4, "num_layers": 2, "dropout": 0.0, "max_length": 24}
VARIANTS = {
    "learned": {"positions": "learned", "norm_kind": "layer_norm", "activation": "gelu"},
    "sinusoidal": {
        "positions": "sinusoidal",
        "norm_kind": "layer_norm",
        "activation": "relu",
        "tied_embeddings": False,
    },
    "rotary": {"positions": "rotary", "norm_kind": "rms_norm", "activation": "swiglu", "tied_embeddings": False},
    "default": {"num_heads": 1, "num_layers": 3},
    "odd sizes": {"d_model": 30, "d_ff": 50, "num_heads": 3, "norm_kind": "layer_norm", "activation": "swiglu"},
    "many heads": {"num_heads": 16, "positions": "sinusoidal"},
}
every_variant = pytest.mark.parametrize("name", VARIANTS)
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")


def build(name: str = "default", vocab_size: int = VOCAB, **fields: Any) -> Any:
    return build_model(TransformerLmConfig(**SIZES | VARIANTS[name] | fields), texts(vocab_size))


def batch_of(rows: Sequence[Sequence[int]]) -> TextBatch:
    return collate_text(rows, range(len(rows)), pad_id=PAD, start_id=BOS)


def pack_rows(rows: list[list[int]], groups: list[list[int]]) -> TextBatch:
    """Pack each group of rows into one row."""
    lengths = torch.tensor([len(row) for row in rows])
    stops = lengths.cumsum(0).numpy()
    segments = TextSegments(stops - lengths.numpy(), stops, stops > 0)
    values = torch.tensor([id_ for row in rows for id_ in row]).numpy()
    return collate_packed(
        values, [segments.take(torch.tensor(group).numpy()) for group in groups], pad_id=PAD, start_id=BOS
    )


def score_stepwise(model: TransformerLm, ids: Tensor, prompt_length: int = 1) -> Tensor:
    """Step through ids (B, T) after a prompt of `prompt_length` ids: log-probs (B, T - prompt_length + 1, V)."""
    last_ids, state = model.start(collate_prompts(ids[:, :prompt_length]))  # type: ignore[arg-type]
    found = []
    for t in range(prompt_length, ids.size(1) + 1):
        step = model.step(last_ids, state)
        found.append(step.scores)
        if t < ids.size(1):
            last_ids, state = ids[:, t], step.state
    return torch.stack(found, dim=1)


@torch.no_grad()
def torch_encoder(model: TransformerLm) -> nn.TransformerEncoder:
    """Build `torch.nn.TransformerEncoder` with the same weights."""
    config = model.config
    layer = nn.TransformerEncoderLayer(
        config.d_model, config.num_heads, config.d_ff, 0.0, config.activation, batch_first=True, norm_first=True
    )
    encoder = nn.TransformerEncoder(layer, config.num_layers, nn.LayerNorm(config.d_model), enable_nested_tensor=False)
    copy_encoder_layers(model.layers, encoder.layers)
    encoder.norm.load_state_dict(model.norm.state_dict())
    return encoder.eval()


@pytest.mark.parametrize("name", ["learned", "sinusoidal"])
@pytest.mark.parametrize("training", [True, False])
def test_hidden_states_and_gradients_equal_torch(name: str, training: bool) -> None:
    model, batch = build(name).train(training), batch_of(ROWS)
    length = batch.tgt_in.size(1)
    expected = torch_encoder(model)(
        model.embedding(batch.tgt_in), mask=torch.ones(length, length, dtype=torch.bool).triu(1), is_causal=True
    )
    assert_same_hidden_states(model(batch).hidden, expected, batch.tgt_out != IGNORE, model.embedding.weight)


@torch.no_grad()
def make_llama(model: TransformerLm) -> Any:
    """Build the Llama model of `transformers` with the same weights: RMS norms, rotary positions, SwiGLU, no biases."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config, size = model.config, model.config.d_model
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=size,
            intermediate_size=config.d_ff,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            rms_norm_eps=1e-6,
            attn_implementation="eager",
        )
    ).eval()
    llama.model.embed_tokens.weight.copy_(model.embedding.weight * size**0.5)
    llama.lm_head.weight.copy_(model.projection.weight)
    llama.model.norm.weight.copy_(model.norm.weight)
    for layer, llama_layer in zip(model.layers, llama.model.layers, strict=True):
        for name, part in zip("qkv", layer.attention.project_in.weight.split(size), strict=True):
            getattr(llama_layer.self_attn, f"{name}_proj").weight.copy_(part)
        llama_layer.self_attn.o_proj.weight.copy_(layer.attention.project_out.weight)
        gate, value = layer.feed_forward.expand.weight.split(config.d_ff)
        llama_layer.mlp.gate_proj.weight.copy_(gate)
        llama_layer.mlp.up_proj.weight.copy_(value)
        llama_layer.mlp.down_proj.weight.copy_(layer.feed_forward.contract.weight)
        llama_layer.input_layernorm.weight.copy_(layer.attention_residual.norm.weight)
        llama_layer.post_attention_layernorm.weight.copy_(layer.feed_forward_residual.norm.weight)
    return llama


@torch.no_grad()
def test_logits_equal_transformers() -> None:
    model = build("rotary")
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    batch = batch_of(ROWS)
    is_token = batch.tgt_out != IGNORE
    torch.testing.assert_close(
        model(batch).logits()[is_token], make_llama(model)(batch.tgt_in).logits[is_token], rtol=1e-4, atol=1e-4
    )


@every_variant
def test_models_pass_the_public_checks(name: str) -> None:
    config = TransformerLmConfig(**SIZES | VARIANTS[name])
    check_model(config, texts())
    for dtype in (torch.float32, torch.bfloat16):
        check_batches(config, texts(), dtype)


@every_variant
@torch.inference_mode()
def test_cached_steps_equal_the_teacher_forced_pass(name: str) -> None:
    model, batch = build(name), batch_of(ROWS)
    log_probs = model(batch).logits().log_softmax(-1)
    expected = log_probs.gather(2, batch.tgt_out.clamp(min=0)[..., None])[..., 0]
    torch.testing.assert_close(model.score(batch), expected.masked_fill(batch.tgt_out == IGNORE, 0.0))
    for prompt_length in (2, 5, 18):  # ids of the prompt, encoded in one pass
        found = score_stepwise(model, batch.tgt_in, prompt_length)
        torch.testing.assert_close(found, log_probs[:, prompt_length - 1 :], rtol=0, atol=1e-4)


@every_variant
@torch.inference_mode()
def test_packed_lines_equal_lines_in_separate_rows(name: str) -> None:
    groups = [[1, 2], [0, 3], [3, 2, 0, 3]]
    model, batch = build(name), pack_rows(ROWS, groups)
    scores = model.score(batch)
    for row, lines in enumerate(groups):
        assert batch.tgt_out[row][batch.tgt_out[row] != IGNORE].tolist() == [id_ for i in lines for id_ in ROWS[i]]
        separate = torch.cat([model.score(batch_of([ROWS[line]]))[0] for line in lines])
        torch.testing.assert_close(scores[row, : len(separate)], separate, rtol=0, atol=1e-5)
        assert not scores[row, len(separate) :].any()


@every_variant
@pytest.mark.parametrize("max_length", [2, 3])
def test_steps_pass_the_public_checks_when_the_context_is_encoded_again(name: str, max_length: int) -> None:
    """Without `score`, since the context of the steps is shorter."""
    model = build(name, max_length=max_length)
    methods = {method: getattr(model, method) for method in ("vocab_size", "eos_id", "start", "step")}
    check_stepper(SimpleNamespace(**methods), texts())


def first_context_position(length: int, max_length: int) -> int:
    """Return the first position in the context of the last of `length` ids that were added one by one."""
    first = 0
    for position in range(length):
        if position - first == max_length:
            first = position - max_length // 2
    return first


@pytest.mark.parametrize("name", ["learned", "sinusoidal", "rotary", "default"])
@pytest.mark.parametrize("max_length", [2, 5, 8])
@torch.inference_mode()
def test_half_the_context_is_encoded_again_beyond_the_maximum_length(name: str, max_length: int) -> None:
    model = build(name, max_length=max_length)
    ids = (torch.arange(60).view(3, 20) * 11) % 35 + 5
    found = score_stepwise(model, ids)
    for position in range(ids.size(1)):
        context = ids[:, first_context_position(position + 1, max_length) : position + 1]
        torch.testing.assert_close(
            found[:, position], score_stepwise(model, context, context.size(1))[:, 0], rtol=0, atol=1e-5
        )
    for length in (max_length, max_length + 1, 20):  # only the end of a too long prompt is encoded
        kept_ids = ids[:, max(0, length - max_length) : length]
        assert torch.equal(
            score_stepwise(model, ids[:, :length], length), score_stepwise(model, kept_ids, kept_ids.size(1))
        )


@torch.inference_mode()
@pytest.mark.parametrize("max_length", [4, 16])
def test_beam_search_finds_the_exhaustive_optimum(max_length: int) -> None:
    """The beam holds all prefixes. With a short `max_length`, the context is encoded again during the search."""
    size, max_output_length, prompts = 6, 4, [[BOS, 4, 3], [BOS, 5, 5]]
    model = build("rotary", vocab_size=size, max_length=max_length)
    config = SearchConfig(beam_size=64, num_hypotheses=6, max_length=max_output_length, early_stopping=False)
    found = beam_search(model, collate_prompts(prompts), config, banned_ids=[PAD, BOS])
    for prompt, hypotheses in zip(prompts, found, strict=True):

        def table(history: tuple[int, ...], prompt: list[int] = prompt) -> list[float]:
            ids = [*prompt, *history]
            ids = ids[first_context_position(len(ids), max_length) :]
            return model(collate_prompts([ids])).logits()[0, -1].log_softmax(0).tolist()  # type: ignore[no-any-return]

        expected = best(all_sequences(table, EOS, config, 0, max_output_length, banned_ids=[PAD, BOS]), 6)
        assert [tuple(hypothesis.ids) for hypothesis in hypotheses] == [each.ids for each in expected]
        assert [h.log_prob for h in hypotheses] == pytest.approx([each.log_prob for each in expected], abs=1e-4)
