"""Every model family with reference kernels, compiled, and differentiated twice: the same losses and gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from reference.stored_families import COUNT_BASED_FAMILIES, FAMILIES
from reference.tiny_models import make_batch, make_lstm, make_model
from torch import Tensor, nn

from seqlab.base.world import join_world
from seqlab.nn import reference_kernels
from seqlab.objectives import StepContext
from seqlab.runs.folder import RunFolder
from seqlab.runs.overrides import config_from_yaml
from seqlab.training.locked_folder import lock_run_folder
from seqlab.training.loop import training_steps
from seqlab.training.train import set_up_run


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in COUNT_BASED_FAMILIES])
def test_losses_and_gradients_equal_those_of_reference_kernels(
    family: str, stored_families: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On data and with an objective of the family, in evaluation mode, because dropout masks differ."""
    monkeypatch.chdir(stored_families)
    config = config_from_yaml(Path("runs") / family / "config.yaml")
    with join_world() as world, lock_run_folder(RunFolder(tmp_path / "run"), world) as held:
        run = set_up_run(config, held, False, (), world)
        run.metrics_logger.close()
        batch = next(iter(training_steps(run))).micro_steps[0]
        run.model.eval()
        parameters = [p for p in run.model.parameters() if p.requires_grad]

        def loss_and_gradients() -> tuple[Tensor, tuple[Tensor | None, ...]]:
            context = StepContext(0, torch.Generator().manual_seed(1))
            total = run.objective(run.model, batch, context).total
            return total.detach(), torch.autograd.grad(total, parameters, allow_unused=True)

        found, gradients = loss_and_gradients()
        with reference_kernels():
            expected, wanted = loss_and_gradients()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for own, reference in zip(gradients, wanted, strict=True):
        assert (own is None) == (reference is None)
        if own is not None and reference is not None:
            torch.testing.assert_close(own, reference, rtol=1e-4, atol=1e-4 * float(reference.abs().max()) + 1e-6)


MODELS = {"transformer": make_model, "lstm": make_lstm}


@pytest.mark.parametrize("name", MODELS)
def test_compiled_models_equal_eager_ones(name: str) -> None:
    """Needs no C++ compiler: the forward and backward graphs are traced and run eagerly."""
    model: nn.Module = MODELS[name]()
    model.projection = nn.Identity()  # type: ignore[assignment]  # hidden states are compared
    batch = make_batch([(5, 6), (3, 4)])
    with reference_kernels():
        expected = model(batch).hidden
        found = torch.compile(model, backend="aot_eager")(batch).hidden
        torch.testing.assert_close(found, expected)
        parameters = list(model.parameters())
        for own, wanted in zip(*(_gradients(x, parameters) for x in (found, expected)), strict=True):
            torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-5)


def _gradients(hidden: Tensor, parameters: list[nn.Parameter]) -> Any:
    found = torch.autograd.grad(hidden.square().sum(), parameters, allow_unused=True)
    return [torch.zeros_like(p) if each is None else each for each, p in zip(found, parameters, strict=True)]


@pytest.mark.parametrize("name", MODELS)
def test_second_derivatives_equal_finite_differences(name: str) -> None:
    """The directional derivative of the gradient's squared norm equals finite differences."""
    model: nn.Module = MODELS[name]()
    if name == "transformer":  # kinks of the relu need a short step
        model.double()
    size = 1e-5 if name == "transformer" else 1e-3
    batch = make_batch([(5, 6), (3, 4)])
    weight = dict(model.named_parameters())["encoder.embedding.weight"]

    def slope() -> Tensor:
        loss = model(batch).logits().logsumexp(-1).sum()
        return torch.autograd.grad(loss, weight, create_graph=True)[0].square().sum()

    direction = torch.randn_like(weight)
    with reference_kernels():
        (curvature,) = torch.autograd.grad(slope(), weight)
        values = []
        for step in (size, -size):
            weight.data += step * direction
            values.append(slope().item())
            weight.data -= step * direction
    assert float((curvature * direction).sum()) == pytest.approx((values[0] - values[1]) / (2 * size), rel=2e-2)
