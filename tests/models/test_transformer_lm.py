"""Decoder-only Transformer: other implementations with the same weights, cached steps, batches, search."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from reference.exhaustive import all_sequences, best
from reference.torch_encoder import copy_encoder_layers
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, TextBatch, collate_prompts, collate_text
from seqlab.data.text_segments import TextSegments, collate_packed
from seqlab.models import TransformerLm, TransformerLmConfig
from seqlab.nn.precision import prepare_inference
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.testing import check_model, texts

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


def build(name: str = "default", vocab_size: int = VOCAB, **fields: Any) -> TransformerLm:
    torch.manual_seed(0)
    model = TransformerLm(TransformerLmConfig(**SIZES | VARIANTS[name] | fields), vocab_size, EOS).eval()
    with torch.no_grad():  # change biases and norms from their initial values, so that the tests detect swapped ones
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


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
    found, is_token = model(batch).hidden, batch.tgt_out != IGNORE
    torch.testing.assert_close(found[is_token], expected[is_token], rtol=1e-4, atol=1e-4)
    output_grad = torch.randn_like(found[is_token])
    (grad,) = torch.autograd.grad((found[is_token] * output_grad).sum(), model.embedding.weight)
    (expected_grad,) = torch.autograd.grad((expected[is_token] * output_grad).sum(), model.embedding.weight)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-3, atol=1e-3)


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
    check_model(TransformerLmConfig(**SIZES | VARIANTS[name]), texts())


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


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.float32) for name in VARIANTS), *((name, torch.bfloat16) for name in ("default", "odd sizes"))],
    ids=str,
)
@torch.inference_mode()
def test_results_are_bitwise_independent_of_the_batch(name: str, dtype: torch.dtype) -> None:
    """The results include padded rows, and steps with and without a prompt."""
    model = build(name)
    prepare_inference(model, torch.device("cpu"), dtype)
    additional_rows = [[(7 * i + j) % 35 + 5 for j in range(i % 19 + 1)] for i in range(30)]
    rows = [*ROWS, *additional_rows]
    batched = model.score(batch_of(rows))
    assert torch.equal(model.score(batch_of(rows[::-1])).flip(0), batched)
    for i in range(0, len(rows), 3):
        assert torch.equal(model.score(batch_of([rows[i]]))[0], batched[i, : len(rows[i])])
    ids = batch_of([row for row in rows if len(row) > 11]).tgt_in[:, :12]
    for prompt_length in (1, 9):
        together = score_stepwise(model, ids, prompt_length)
        for i in (0, 3, len(ids) - 1):
            assert torch.equal(score_stepwise(model, ids[i : i + 1], prompt_length)[0], together[i])


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
@pytest.mark.parametrize("training", [True, False])
def test_outputs_are_causal(name: str, training: bool) -> None:
    """Outputs do not depend on padding or on ids at later positions."""
    model, batch = build(name).train(training), batch_of(ROWS)
    hidden = model(batch).hidden
    for position in (1, 4, 17):
        ids = batch.tgt_in.clone()
        ids[:, position:] = torch.arange(ids.size(1) - position) + 6
        changed = model(replace(batch, tgt_in=ids)).hidden
        assert torch.equal(changed[:, :position], hidden[:, :position])
        assert not torch.allclose(changed[1, position:], hidden[1, position:], atol=1e-2)
    wider = nn.functional.pad(batch.tgt_in, (0, 5), value=PAD)
    padded = model(replace(batch, tgt_in=wider)).hidden[:, : batch.tgt_in.size(1)]
    torch.testing.assert_close(padded, hidden, rtol=0, atol=1e-5)


@every_variant
@pytest.mark.parametrize("selection", [[0, 0, 1, 1, 2, 2], [2, 1, 0, 1]], ids=["spread to a beam", "shuffled"])
@pytest.mark.parametrize("length", [22, 23, 24])
@torch.inference_mode()
def test_selected_rows_continue_unchanged(name: str, selection: list[int], length: int) -> None:
    """Rows with the same ids have the same scores in any order, even when the context is encoded again."""
    model = build(name)
    prompt = (torch.arange(3 * length).view(3, length) * 7) % 35 + 5
    next_ids = torch.tensor([[5, 6, 7], [8, 9, 10], [11, 12, 13]])  # (steps, rows)
    rows = torch.tensor(selection)
    reversed_order = torch.arange(len(rows)).flip(0)
    last_ids, state = model.start(collate_prompts(prompt))  # type: ignore[arg-type]
    state = model.step(last_ids, state).state
    plain = state.fork()
    state = model.step(next_ids[0][rows], state.select(rows)).state
    state = model.step(next_ids[1][rows][reversed_order], state.select(reversed_order)).state
    found = model.step(next_ids[2][rows][reversed_order], state).scores
    for ids in next_ids:
        step = model.step(ids, plain)
        plain = step.state
    torch.testing.assert_close(found, step.scores[rows][reversed_order], rtol=1e-4, atol=1e-4)


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
