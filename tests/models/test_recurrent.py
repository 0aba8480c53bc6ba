"""Recurrent translators against reference equations for single sentences with the cells of torch.nn."""

import pytest
import torch
from reference.tiny_translators import ALL, BOS, EOS, RECURRENT, VOCAB, batch_of, build
from torch import Tensor, nn

from seqlab.data.batch import IGNORE
from seqlab.models import RecurrentConfig, RecurrentTranslator
from seqlab.nn.recurrent_layer import RecurrentLayer

CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}
every_variant = pytest.mark.parametrize("name", RECURRENT)


def make_torch_cell(kind: str, layer: RecurrentLayer) -> nn.RNNCellBase:
    """Build a torch cell that shares the parameters of a layer, so that gradients flow to them."""
    cell = CELLS[kind](layer.from_input.in_features, layer.hidden_size)
    hidden_bias = torch.zeros(len(layer.from_input.bias) // layer.hidden_size * layer.hidden_size)
    if layer.candidate_bias is not None:
        hidden_bias = torch.cat((hidden_bias[: 2 * layer.hidden_size], layer.candidate_bias))
    weights = {
        "weight_ih": layer.from_input.weight,
        "weight_hh": layer.from_hidden.weight,
        "bias_ih": layer.from_input.bias,
        "bias_hh": hidden_bias,
    }
    for name, weight in weights.items():
        delattr(cell, name)
        setattr(cell, name, weight)
    return cell


State = tuple[Tensor, Tensor | None]


def run_cell(cell: nn.RNNCellBase, x: Tensor, state: State) -> State:
    """Run a cell for one step."""
    hidden, cell_state = state
    if cell_state is None:
        return cell(x[None], hidden[None])[0], None
    hidden, cell_state = cell(x[None], (hidden[None], cell_state[None]))
    return hidden[0], cell_state[0]


def zeros(model: RecurrentTranslator, size: int) -> State:
    return torch.zeros(size), torch.zeros(size) if model.config.family == "lstm" else None


def encode(model: RecurrentTranslator, ids: list[int]) -> tuple[Tensor, list[State]]:
    """Compute the memory (S, H) of one source, and the final state of each layer."""
    stack = model.encoder.layers
    sequence, final_states = list(model.encoder.embedding.weight[torch.tensor(ids)]), []
    for depth, directions in enumerate(stack.layers):
        outputs, finals = [], []
        for direction, layer in enumerate(directions):
            cell, state, found = make_torch_cell(stack.kind, layer), zeros(model, layer.hidden_size), []
            for x in reversed(sequence) if direction else sequence:
                state = run_cell(cell, x, state)
                found.append(state[0])
            outputs.append(found[::-1] if direction else found)
            finals.append(state)
        joined = [torch.cat(parts) for parts in zip(*outputs, strict=True)]
        is_residual = stack.residual and depth > 0 and len(joined[0]) == len(sequence[0])
        sequence = [a + b for a, b in zip(sequence, joined, strict=True)] if is_residual else joined
        cell_state = None if finals[0][1] is None else torch.cat([c for _, c in finals])
        final_states.append((torch.cat([h for h, _ in finals]), cell_state))
    return torch.stack(sequence), final_states


def bridge_states(model: RecurrentTranslator, final_states: list[State]) -> list[State]:
    """Compute the decoder's initial states from the encoder's final states."""
    config, bridge = model.config, model.bridge
    states = []
    for depth in range(config.num_decoder_layers):
        hidden, cell_state = final_states[max(0, depth + config.num_encoder_layers - config.num_decoder_layers)]
        if config.bridge == "zero":
            hidden, cell_state = zeros(model, config.hidden_size)
        if config.bridge == "linear":
            hidden = torch.tanh(bridge.projections["hidden"][depth](hidden[None])[0])
            cell_state = None if cell_state is None else bridge.projections["cell"][depth](cell_state[None])[0]
        states.append((hidden, cell_state))
    return states


def apply_rotary(x: Tensor, position: int) -> Tensor:
    """Apply rotary position embeddings: rotate pairs of features as complex numbers (Su et al. 2021)."""
    half = len(x) // 2
    angles = position * 10000.0 ** (-torch.arange(half) / half)
    pairs = torch.complex(x[:half], x[half:]) * torch.polar(torch.ones(half), angles)
    return torch.cat((pairs.real, pairs.imag))


def score_by_definition(query: Tensor, key: Tensor, model: RecurrentTranslator, distance: int) -> Tensor:
    """Compute the attention score of a decoder state and a memory state `distance` positions later."""
    attention = model.decoder.attention
    if attention.kind != "additive":
        if attention.kind == "general":
            key = attention.project_memory(key[None])[0]
        return query @ (apply_rotary(key, distance) if model.config.rotary_cross_attention else key)
    combined = torch.tanh(
        attention.project_query.weight @ query + attention.project_memory.weight @ key + attention.project_memory.bias
    )
    return attention.direction @ combined


def hidden_by_definition(model: RecurrentTranslator, src: list[int], tgt_in: list[int]) -> Tensor:
    """Compute the attentional hidden states (T, E) of one pair (Luong et al. 2015)."""
    memory, final_states = encode(model, src)
    states, decoder = bridge_states(model, final_states), model.decoder
    cells = [make_torch_cell(decoder.layers.kind, layer) for (layer,) in decoder.layers.layers]
    hidden, outputs = torch.zeros(model.config.embedding.size), []
    for position, token_id in enumerate(tgt_in):
        x = decoder.embedding.weight[token_id]
        x = torch.cat((x, hidden)) if model.config.input_feeding else x
        for depth, cell in enumerate(cells):
            states[depth] = run_cell(cell, x, states[depth])
            is_residual = decoder.layers.residual and depth > 0 and len(x) == len(states[depth][0])
            x = x + states[depth][0] if is_residual else states[depth][0]
        scores = [score_by_definition(x, key, model, index - position) for index, key in enumerate(memory)]
        context = torch.softmax(torch.stack(scores), dim=0) @ memory
        hidden = torch.tanh(decoder.combine.weight @ torch.cat((x, context)) + decoder.combine.bias)
        outputs.append(hidden)
    return torch.stack(outputs)


@every_variant
@pytest.mark.parametrize("training", [True, False])
def test_hidden_states_and_gradients_equal_the_equations(name: str, training: bool) -> None:
    config = RECURRENT[name]
    model = build(type(config)(**{**vars(config), "dropout": 0.0})).train(training)
    batch = batch_of(ALL)
    found = model(batch).hidden
    expected = [
        hidden_by_definition(model, batch.src[i, : batch.src_lengths[i]].tolist(), row[: (out != IGNORE).sum()])
        for i, (row, out) in enumerate(zip(batch.tgt_in.tolist(), batch.tgt_out, strict=True))
    ]
    is_token = batch.tgt_out != IGNORE
    torch.testing.assert_close(found[is_token], torch.cat(expected), rtol=1e-4, atol=1e-5)
    output_grad = torch.randn_like(found[is_token])
    named = {n: p for n, p in model.named_parameters() if not n.startswith("projection")}
    grads = torch.autograd.grad((found[is_token] * output_grad).sum(), list(named.values()), allow_unused=True)
    expected_grads = torch.autograd.grad(
        (torch.cat(expected) * output_grad).sum(), list(named.values()), allow_unused=True
    )
    for parameter, grad, expected_grad in zip(named, grads, expected_grads, strict=True):
        assert (grad is None) == (expected_grad is None), parameter
        if grad is not None:
            torch.testing.assert_close(
                grad, expected_grad, rtol=1e-3, atol=1e-4, msg=lambda text, p=parameter: f"{p}: {text}"
            )


def test_embeddings_are_tied_as_configured() -> None:
    for tied, count in (("all", 1), ("decoder", 2), ("none", 3)):
        model = build(RecurrentConfig(family="gru", hidden_size=8, tied_embeddings=tied))
        weights = {id(w) for w in (model.encoder.embedding.weight, model.decoder.embedding.weight)}
        assert len({*weights, id(model.projection.weight)}) == count
    with pytest.raises(ValueError, match="needs one vocabulary for both sides, but they have 40 and 41"):
        RecurrentTranslator(RecurrentConfig(family="gru", hidden_size=8), VOCAB, VOCAB + 1, BOS, EOS)


def test_invalid_configs_are_refused() -> None:
    with pytest.raises(ValueError, match="`hidden_size` must be a multiple of 8, but is 20 instead"):
        RecurrentConfig(family="lstm", hidden_size=20)
    with pytest.raises(ValueError, match="`rotary_cross_attention` needs dot products: set `attention` to `dot` or"):
        RecurrentConfig(family="gru", hidden_size=16, attention="additive", rotary_cross_attention=True)
