"""Recurrent stacks: torch.nn as a reference, steps, batch invariance, states, dropout, bf16 training."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqlab.nn.precision import prepare_inference
from seqlab.nn.recurrent import Recurrent
from seqlab.nn.recurrent_layer import RecurrentKind
from seqlab.training.accumulator import seeded

KINDS: dict[RecurrentKind, type[nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])


def build(kind: RecurrentKind, *args: int, **options: Any) -> Recurrent:
    """Build a stack with nonzero biases."""
    torch.manual_seed(0)
    stack = Recurrent(kind, *args, **options)
    for parameter in stack.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, std=0.5)
    return stack


def make_torch_stack(stack: Recurrent, kind: RecurrentKind) -> nn.RNNBase:
    """Build the stack of torch.nn (batch first) with the same weights."""
    bidirectional = stack.num_directions == 2
    size = stack.sizes[0]
    torch_stack = KINDS[kind](stack.input_size, size, len(stack.sizes), bidirectional=bidirectional, batch_first=True)
    for name, parameter in torch_stack.named_parameters():  # e.g. weight_ih_l0_reverse
        tensor_type, source, depth, *is_reverse = name.split("_")
        layer = stack.layers[int(depth[1:])][len(is_reverse)]
        if tensor_type == "weight":
            parameter.data = (layer.from_input if source == "ih" else layer.from_hidden).weight.data.clone()
        elif source == "ih":
            parameter.data = layer.from_input.bias.data.clone()
        else:
            nn.init.zeros_(parameter)
            if kind == "gru":
                parameter.data[2 * size :] = layer.candidate_bias.data
    return torch_stack


def gradients_by_seqlab_name(torch_stack: nn.RNNBase, stack: Recurrent, loss: Tensor) -> dict[str, Tensor]:
    """Compute the gradients of `loss` for the parameters of torch.nn, under their names in seqlab."""
    by_name = dict(
        zip(
            dict(torch_stack.named_parameters()), torch.autograd.grad(loss, list(torch_stack.parameters())), strict=True
        )
    )
    named = {}
    for depth, size in enumerate(stack.sizes):
        for direction in range(stack.num_directions):
            suffix = f"_l{depth}" + "_reverse" * direction
            layer = f"layers.{depth}.{direction}"
            named[f"{layer}.from_input.weight"] = by_name["weight_ih" + suffix]
            named[f"{layer}.from_input.bias"] = by_name["bias_ih" + suffix]
            named[f"{layer}.from_hidden.weight"] = by_name["weight_hh" + suffix]
            named[f"{layer}.candidate_bias"] = by_name["bias_hh" + suffix][-size:]
    return {name: grad for name, grad in named.items() if name in dict(stack.named_parameters())}


@every_kind
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_sequences_equal_torch(kind: RecurrentKind, bidirectional: bool) -> None:
    """Outputs, final states and all gradients for a padded batch and a given initial state."""
    stack = build(kind, 12, 20, 2, bidirectional=bidirectional)
    torch_stack = make_torch_stack(stack, kind)
    x, lengths = torch.randn(5, 9, 12, requires_grad=True), torch.tensor([9, 3, 1, 7, 9])
    initial = stack.initial_state(5)._map(lambda part: torch.randn_like(part).requires_grad_())
    hidden = torch.stack(initial.hidden)
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    outputs, last = torch_stack(packed, (hidden, torch.stack(initial.cell)) if kind == "lstm" else hidden)
    expected, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
    expected_states = last if kind == "lstm" else (last,)
    found = stack(x, initial, lengths)
    found_states = [torch.stack(part) for part in (found.state.hidden, found.state.cell) if part]
    torch.testing.assert_close(found.output, expected)
    weights = [torch.randn_like(part) for part in (expected, *expected_states)]
    totals = []
    for parts in ((found.output, *found_states), (expected, *expected_states)):
        totals.append(torch.stack([(w * part).sum() for w, part in zip(weights, parts, strict=True)]).sum())
    for state, expected_state in zip(found_states, expected_states, strict=True):
        torch.testing.assert_close(state, expected_state)
    inputs = [x, *initial.hidden, *initial.cell]
    for grad, expected_grad in zip(
        *(torch.autograd.grad(total, inputs, retain_graph=True) for total in totals),
        strict=True,
    ):
        torch.testing.assert_close(grad, expected_grad, rtol=1e-5, atol=1e-5)
    named = dict(stack.named_parameters())
    grads = dict(zip(named, torch.autograd.grad(totals[0], list(named.values())), strict=True))
    expected_grads = gradients_by_seqlab_name(torch_stack, stack, totals[1])
    assert expected_grads.keys() == grads.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected_grads[name], rtol=1e-5, atol=1e-5, msg=name)


@every_kind
@every_dtype
@pytest.mark.parametrize("size", [32, 37])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_results_are_independent_of_the_batch(
    kind: RecurrentKind, dtype: torch.dtype, size: int, bidirectional: bool
) -> None:
    stack = build(kind, 24, size, 2, bidirectional=bidirectional).eval()
    prepare_inference(stack, torch.device("cpu"), dtype)
    x, lengths = torch.randn(70, 11, 24) * 3, torch.randint(1, 12, (70,))
    with torch.inference_mode():
        full = stack(x, lengths=lengths)
        assert not full.output[torch.arange(11) >= lengths[:, None]].any()
        for row in range(0, 70, 9):
            for count in (1, 5, 40):
                rows = slice(row, row + count)
                part = stack(x[rows, : int(lengths[rows].max())], lengths=lengths[rows])
                assert torch.equal(part.output, full.output[rows, : part.output.size(1)])
                for name, tensor in part.state.tensors().items():
                    assert torch.equal(tensor, full.state.tensors()[name][rows]), name
            single_row = stack(x[row : row + 1, : int(lengths[row])])  # without lengths
            tolerance = 1e-5 if dtype == torch.float32 else 3e-2
            expected = full.output[row, : int(lengths[row])]
            torch.testing.assert_close(single_row.output[0], expected, rtol=0, atol=tolerance)


@every_kind
@pytest.mark.parametrize("residual", [False, True])
def test_steps_equal_the_forward_pass(kind: RecurrentKind, residual: bool) -> None:
    stack = build(kind, 24, 24, 3, last_size=16, residual=residual).eval()
    x = torch.randn(5, 8, 24)
    expected, _, last = stack(x)
    state = stack.initial_state(5)
    for t in range(8):
        output, state = stack.step(x[:, t], state)
        torch.testing.assert_close(output, expected[:, t], rtol=0, atol=1e-5)
    for name, tensor in state.tensors().items():
        torch.testing.assert_close(tensor, last.tensors()[name], rtol=0, atol=1e-5)


@every_kind
@every_dtype
def test_steps_with_packed_weights_equal_unpacked_steps(kind: RecurrentKind, dtype: torch.dtype) -> None:
    stack = build(kind, 24, 32, 2, last_size=16).eval()
    packed = copy.deepcopy(stack)
    prepare_inference(packed, torch.device("cpu"), dtype)
    tolerance = {"rtol": 0.0, "atol": 1e-5 if dtype == torch.float32 else 0.02}
    state = packed_state = stack.initial_state(3)
    with torch.inference_mode():
        for x in torch.randn(5, 3, 24):
            output, state = stack.step(x, state)
            packed_output, packed_state = packed.step(x, packed_state)
            torch.testing.assert_close(packed_output, output, **tolerance)
    torch.testing.assert_close(packed_state.tensors(), state.tensors(), **tolerance)


@every_kind
@every_dtype
@pytest.mark.parametrize("size", [32, 37])
def test_steps_do_not_depend_on_other_rows(kind: RecurrentKind, dtype: torch.dtype, size: int) -> None:
    stack = build(kind, 24, size, 2, residual=True).eval()
    prepare_inference(stack, torch.device("cpu"), dtype)
    x = torch.randn(3, 300, 24) * 3
    with torch.inference_mode():
        state, outputs = stack.initial_state(300), []
        for position in x:
            output, state = stack.step(position, state)
            outputs.append(output)
        for rows in (slice(7, 8), slice(10, 23), slice(100, 281)):
            part = stack.initial_state(rows.stop - rows.start)
            for position, expected in zip(x, outputs, strict=True):
                output, part = stack.step(position[rows], part)
                assert torch.equal(output, expected[rows])


@every_kind
def test_states_are_carried_selected_and_forked(kind: RecurrentKind) -> None:
    stack = build(kind, 6, 8, 2, last_size=5).eval()
    x = torch.randn(4, 10, 6)
    full = stack(x)
    first = stack(x[:, :6])
    second = stack(x[:, 6:], first.state)
    torch.testing.assert_close(torch.cat((first.output, second.output), dim=1), full.output)
    rows = torch.tensor([2, 0, 2])
    selected = stack(x[rows, 6:], first.state.fork().select(rows))
    torch.testing.assert_close(selected.output, full.output[rows, 6:])
    assert all(part.dtype == torch.float32 for part in second.state.tensors().values())


@every_kind
def test_truncated_backpropagation_stops_at_the_detached_state(kind: RecurrentKind) -> None:
    stack = build(kind, 6, 8, 1)
    x = torch.randn(4, 10, 6, requires_grad=True)
    for detached in (False, True):
        state = stack(x[:, :6]).state
        (grad,) = torch.autograd.grad(stack(x[:, 6:], state.detach() if detached else state).output.sum(), x)
        assert bool(grad[:, :6].any()) is not detached
        assert grad[:, 6:].all()


@every_kind
def test_residual_connections_join_only_layers_of_equal_size(kind: RecurrentKind) -> None:
    sizes = {"input_size": 8, "hidden_size": 8, "num_layers": 3, "last_size": 5}
    stack = build(kind, **sizes, residual=True)
    x = torch.randn(4, 7, 8)
    single_layers = []
    for layers, layer_input, size in zip(stack.layers, (8, 8, 8), (8, 8, 5), strict=True):
        single = Recurrent(kind, layer_input, size)
        single.layers[0].load_state_dict(layers.state_dict())
        single_layers.append(single)
    first = single_layers[0](x).output  # no residual around the first layer
    second = first + single_layers[1](first).output
    torch.testing.assert_close(stack(x).output, single_layers[2](second).output)
    assert stack.output_size == 5


def test_dropout_mask_is_constant_over_time() -> None:
    options = {"input_dropout": 0.3, "hidden_dropout": 0.4, "output_dropout": 0.5, "weight_dropout": 0.2}
    stack = build("lstm", 12, 16, 2, **options)
    x = torch.randn(6, 9, 12)

    def run_with_seed() -> Any:
        with seeded(1, torch.device("cpu")):
            return stack(x)

    found, repeated = run_with_seed(), run_with_seed()
    assert torch.equal(found.output, repeated.output)
    ratio = found.output / found.undropped
    assert torch.equal(ratio.round(), ratio[:, :1].round().expand_as(ratio))  # 0 or 2 at all positions
    assert (ratio.round() == 0).any()
    assert not torch.equal(ratio[0].round(), ratio[1].round())
    stack.eval()
    evaluated = stack(x)
    assert evaluated.output is evaluated.undropped
    without_dropout = build("lstm", 12, 16, 2)
    torch.testing.assert_close(evaluated.output, without_dropout(x).output)


@pytest.mark.parametrize("option", ["input_dropout", "hidden_dropout"])
def test_input_dropout_drops_features_at_all_positions(option: str) -> None:
    """One mask per sequence sets the same input features to zero at all positions."""
    stack = build("gru", 12, 16, 2, **{option: 0.5})
    x = torch.randn(6, 9, 12, requires_grad=True)
    layer_inputs: list[Tensor] = []
    layers = stack.layers[0 if option == "input_dropout" else 1]
    layers[0].register_forward_pre_hook(lambda _, inputs: layer_inputs.append(inputs[0]))
    stack(x)
    (layer_input,) = layer_inputs  # (T, rows, features)
    is_dropped = layer_input[:, :6] == 0
    assert torch.equal(is_dropped, is_dropped[:1].expand_as(is_dropped))
    assert 0.2 < is_dropped.float().mean() < 0.8


@every_kind
def test_training_in_bf16_is_close_to_fp32(kind: RecurrentKind) -> None:
    """The task is to predict the first of eight tokens, with a vocabulary of four."""
    torch.manual_seed(1)
    xs = torch.nn.functional.one_hot(torch.randint(0, 4, (40, 32, 8)), 4).float()
    curves = {}
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        stack, project = Recurrent(kind, 4, 32, 2), nn.Linear(32, 4)
        optimizer = torch.optim.Adam([*stack.parameters(), *project.parameters()], lr=1e-2)
        curves[dtype] = []
        for x in xs:
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                hidden = stack(x).output[:, -1]
            loss = nn.functional.cross_entropy(project(hidden.float()), x[:, 0].argmax(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curves[dtype].append(loss.item())
    wide, narrow = (torch.tensor(curve) for curve in curves.values())
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in stack.parameters())
    assert wide[-5:].mean() < 0.5 * wide[0]
    assert (narrow - wide).abs().mean() < 0.03


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "elman"}, "`kind` must be one of rnn, lstm, gru, but is `elman` instead"),
        ({"input_size": 0}, "`input_size` must be at least 1, but is 0 instead"),
        ({"hidden_size": -1}, "`hidden_size` must be at least 1, but is -1 instead"),
        ({"num_layers": 0}, "`num_layers` must be at least 1, but is 0 instead"),
        ({"last_size": 0}, "`last_size` must be at least 1, but is 0 instead"),
        ({"weight_dropout": 1.0}, r"`p` must be in \[0, 1\), but is 1.0 instead"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recurrent(**({"kind": "gru", "input_size": 3, "hidden_size": 4} | arguments))


def test_mismatched_shapes_are_refused() -> None:
    stack, bidirectional_stack = Recurrent("lstm", 3, 4), Recurrent("lstm", 3, 4, bidirectional=True)
    x = torch.randn(2, 5, 3)
    with pytest.raises(ValueError, match=r"must be \(B, T, 3\), but is \(2, 5, 4\) instead"):
        stack(torch.randn(2, 5, 4))
    with pytest.raises(ValueError, match=r"must be \(B, T, 3\), but is \(2, 3\) instead"):
        stack(x[:, 0])
    with pytest.raises(ValueError, match=r"`lengths` must be \(2,\) to fit the input, but is \(3,\) instead"):
        stack(x, lengths=torch.tensor([5, 5, 5]))
    with pytest.raises(ValueError, match=r"hidden\.0 \(2, 4\), cell\.0 \(2, 4\), but has hidden\.0 \(3, 4\)"):
        stack(x, stack.initial_state(3))
    with pytest.raises(ValueError, match="has no `step`"):
        bidirectional_stack.step(x[:, 0], bidirectional_stack.initial_state(2))
