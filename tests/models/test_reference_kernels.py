"""Models with reference kernels: the same losses and gradients, compilation, second derivatives."""

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
    """Each family uses its own data and objective. Models are in evaluation mode, because dropout masks differ."""
    monkeypatch.chdir(stored_families)
    config = config_from_yaml(Path("runs") / family / "config.yaml")
    with join_world() as world, lock_run_folder(RunFolder(tmp_path / "run"), world) as locked:
        run = set_up_run(config, locked, (), world)
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
            expected, expected_gradients = loss_and_gradients()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for grad, expected_grad in zip(gradients, expected_gradients, strict=True):
        assert (grad is None) == (expected_grad is None)
        if grad is not None and expected_grad is not None:
            torch.testing.assert_close(
                grad, expected_grad, rtol=1e-4, atol=1e-4 * float(expected_grad.abs().max()) + 1e-6
            )


MODELS = {"transformer": make_model, "lstm": make_lstm}


@pytest.mark.parametrize("name", MODELS)
def test_compiled_models_equal_eager_ones(name: str) -> None:
    """The graphs are traced and run eagerly, without a C++ compiler."""
    model: nn.Module = MODELS[name]()
    model.projection = nn.Identity()  # type: ignore[assignment]  # the test compares hidden states
    batch = make_batch([(5, 6), (3, 4)])
    with reference_kernels():
        expected = model(batch).hidden
        found = torch.compile(model, backend="aot_eager")(batch).hidden
        torch.testing.assert_close(found, expected)
        parameters = list(model.parameters())
        for grad, expected_grad in zip(*(gradients_of_squares(x, parameters) for x in (found, expected)), strict=True):
            torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-5)


def gradients_of_squares(hidden: Tensor, parameters: list[nn.Parameter]) -> Any:
    found = torch.autograd.grad(hidden.square().sum(), parameters, allow_unused=True)
    return [torch.zeros_like(p) if each is None else each for each, p in zip(found, parameters, strict=True)]


@pytest.mark.parametrize("name", MODELS)
def test_second_derivatives_equal_finite_differences(name: str) -> None:
    """The test compares the directional derivative of the gradient's squared norm with finite differences."""
    model: nn.Module = MODELS[name]()
    if name == "transformer":  # a short step avoids the kinks of ReLU
        model.double()
    step_size = 1e-5 if name == "transformer" else 1e-3
    batch = make_batch([(5, 6), (3, 4)])
    weight = dict(model.named_parameters())["encoder.embedding.weight"]

    def squared_grad_norm() -> Tensor:
        loss = model(batch).logits().logsumexp(-1).sum()
        return torch.autograd.grad(loss, weight, create_graph=True)[0].square().sum()

    direction = torch.randn_like(weight)
    with reference_kernels():
        (second_derivative,) = torch.autograd.grad(squared_grad_norm(), weight)
        values = []
        for step in (step_size, -step_size):
            weight.data += step * direction
            values.append(squared_grad_norm().item())
            weight.data -= step * direction
    assert float((second_derivative * direction).sum()) == pytest.approx(
        (values[0] - values[1]) / (2 * step_size), rel=2e-2
    )
