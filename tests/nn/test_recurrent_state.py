"""Recurrent state: forks, detached tensors, and checkpoints."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from seqlab.nn.recurrent import Recurrent
from seqlab.nn.recurrent_state import RecurrentState


def make_state() -> RecurrentState:
    torch.manual_seed(0)
    hidden = (torch.randn(3, 4), torch.randn(3, 2))
    return RecurrentState(hidden, (torch.randn(3, 4), torch.randn(3, 2)))


def test_forks_are_independent() -> None:
    state = make_state()
    fork = state.fork()
    fork.hidden[0].zero_()
    fork.cell[1].zero_()
    for name, tensor in make_state().tensors().items():
        assert torch.equal(state.tensors()[name], tensor)


def test_detached_tensors_have_no_graph() -> None:
    state = make_state()._map(lambda part: part.requires_grad_() * 2)
    assert all(tensor.requires_grad for tensor in state.tensors().values())
    assert not any(tensor.requires_grad for tensor in state.detach().tensors().values())


@pytest.mark.parametrize(
    "state", [make_state(), RecurrentState(make_state().hidden), Recurrent("lstm", 3, 4, 12).initial_state(2)]
)
def test_checkpoints_restore_the_state(state: RecurrentState, tmp_path: Path) -> None:
    save_file(state.tensors(), tmp_path / "state.safetensors")
    loaded = RecurrentState.from_tensors(load_file(tmp_path / "state.safetensors"))
    assert (len(loaded.hidden), len(loaded.cell)) == (len(state.hidden), len(state.cell))
    for name, tensor in state.tensors().items():
        assert torch.equal(loaded.tensors()[name], tensor)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["hidden.0", "hidden.2"], r"needs `hidden\.1`"),
        (["hidden.0", "cell.1"], r"needs `cell\.0`"),
        ([], r"has \[\] instead"),
        (["cell.0"], r"has \['cell\.0'\]"),
        (["hidden.0", "memory.0"], r"has \['hidden\.0', 'memory\.0'\]"),
    ],
)
def test_invalid_tensor_names_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecurrentState.from_tensors({name: torch.zeros(1, 1) for name in names})
