"""Gradients over positions: compared in each model of texts, also if it looks up embeddings without a module."""

from collections.abc import Callable

import pytest
import torch

from seqlab.diagnosis import gradient_checks
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.gradient_checks import check_positions
from seqlab.nn.recurrent_layer import RecurrentLayer


@pytest.fixture(autouse=True)
def _short_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_checks, "MIN_POSITIONS", 3)  # the texts of the rows are short


ROWS = ("rnn_lm", "transformer_lm, continuous, muon", "rnn_labeller, words", "transformer_labeller, words")


@pytest.mark.parametrize("row", ROWS)
def test_healthy_models_of_texts_have_no_finding(lab_of: Callable[[str], Experiments], row: str) -> None:
    assert list(check_positions(lab_of(row))) == []  # a question that is left out raises LeftOut


@pytest.mark.parametrize(("factor", "cause"), [(30.0, "exploding_gradient"), (1e-3, "vanishing_gradient")])
def test_recurrent_matrices_explode_or_vanish(
    lab_of: Callable[[str], Experiments], factor: float, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_of("rnn_lm")
    fresh = lab.fresh()

    def scale(model: torch.nn.Module) -> None:
        for layer in model.modules():
            if isinstance(layer, RecurrentLayer):
                layer.from_hidden.weight.detach().mul_(factor)
                layer.from_input.weight.detach().mul_(1e-3)  # keeps tanh linear, so that gradients grow

    scale(fresh.model)
    monkeypatch.setattr(lab, "fresh", lambda: fresh)
    weights = {name: value * (factor if ".from_hidden." in name else 1) for name, value in lab.bench.weights.items()}
    monkeypatch.setattr(lab.bench, "weights", weights)
    assert [finding.cause for finding in check_positions(lab)] == [cause]
