"""Check of models: their outputs do not depend on the batch, and weights can be saved and trained."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.data.batch import IGNORE
from seqlab.models.interfaces import Labeller, Scorer, Stepper
from seqlab.objectives import StepContext
from seqlab.registry import Parts
from seqlab.testing.examples import Examples
from seqlab.testing.steppers import assert_close, check_stepper

Outputs = Callable[[Any, Any], list[Tensor]]
"""Function (model, batch) that returns the outputs of each row without padding."""


def row_outputs(model: Any, batch: Any) -> list[Tensor]:
    """Return the outputs of each row of a batch, without padding.

    These are the log-probabilities of the targets of a `Scorer`, the log-probabilities of all labels of a `Labeller`,
    and the outputs (B, O) of other models.
    """
    if isinstance(model, Scorer):
        scores = model.score(batch)
        return [row[is_target] for row, is_target in zip(scores, batch.tgt_out != IGNORE, strict=True)]
    if isinstance(model, Labeller):
        counts = [1] * len(batch) if model.labels_lines else batch.src_lengths.tolist()
        return list(model.label(batch).split(counts))
    outputs = model(batch)
    assert isinstance(outputs, Tensor), (
        f"{type(model).__name__} has neither `score` nor `label`, and returns an object of type "
        f"{type(outputs).__name__}: give the function `outputs`."
    )
    return list(outputs)


def check_model(
    config: Any,
    examples: Examples,
    *,
    objective: Any = None,
    outputs: Outputs = row_outputs,
    tolerance: float = 0.0,
    untrained: tuple[str, ...] = (),
    has_attention: bool = False,
) -> None:
    """Check a model on a few examples.

    1. The same seed builds the same weights, and `state_dict` restores them in another model: the outputs are equal.
    2. Two passes in evaluation mode have the same outputs.
    3. Each row has the same outputs alone, in a batch, and in a batch of another order.
    4. The loss has a finite gradient for each parameter, and none for batches without targets.
    5. A `Stepper` passes `check_stepper`.

    Args:
        config: config of the model.
        examples: examples of its data: `token_pairs()`, `texts()`, `labeled_lines()`, `recordings()` and so on.
        objective: config of the objective; None for the default objective of the model.
        outputs: the outputs of each row of a batch, for models without `score` and `label`.
        tolerance: largest difference of a row alone and in a batch; 0 for equal bits. Convolutions need about 1e-4.
        untrained: ends of the names of parameters that have no gradient.
        has_attention: whether the steps return attention.

    Raises:
        AssertionError: one of these does not hold; the message names it.
    """
    model = build(config, examples)
    batch = examples.all()
    with torch.inference_mode():
        together = outputs(model, batch)
        _check_weights(config, examples, model, outputs)
        for row, (again, output) in enumerate(zip(outputs(model, batch), together, strict=True)):
            assert_close(again, output, 0.0, f"the outputs of row {row} in two passes")
        backwards = outputs(model, examples.collate(range(examples.count)[::-1]))[::-1]
        for row, output in enumerate(together):
            [alone] = outputs(model, examples.collate([row]))
            assert_close(alone, output, tolerance, f"the outputs of row {row} alone and in a batch")
            assert_close(backwards[row], output, tolerance, f"the outputs of row {row} in batches of another order")
    _check_gradients(model, batch, objective or Parts("objective")[config.default_objective](), untrained)
    if isinstance(model, Stepper):
        check_stepper(model.eval(), examples, tolerance=tolerance, has_attention=has_attention)


def build(config: Any, examples: Examples, seed: int = 0) -> nn.Module:
    """Build a model in evaluation mode, with random biases and scales, so that errors in them change the outputs."""
    torch.manual_seed(seed)
    model: nn.Module = config.build(examples.src, examples.tgt).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def _check_weights(config: Any, examples: Examples, model: nn.Module, outputs: Outputs) -> None:
    again, other = build(config, examples), build(config, examples, seed=1)
    for name, value in model.state_dict().items():
        assert_close(again.state_dict()[name], value, 0.0, f"`{name}` of two models with the same seed")
    other.load_state_dict(model.state_dict())
    batch = examples.all()
    for actual, expected in zip(outputs(other, batch), outputs(model, batch), strict=True):
        assert_close(actual, expected, 0.0, "the outputs of a model and of another one with its `state_dict`")


def _check_gradients(model: nn.Module, batch: Any, objective: Any, untrained: tuple[str, ...]) -> None:
    model.train()
    trained = {name for name, _ in _gradients(model, batch, objective)}
    expected = {name for name, item in model.named_parameters() if item.requires_grad and not name.endswith(untrained)}
    missing, unexpected = sorted(expected - trained), sorted(trained - expected)
    assert not missing, f"The loss has no gradient for {', '.join(missing)}: name them as `untrained` if that is meant."
    assert not unexpected, f"The loss has a gradient for {', '.join(unexpected)}, which `untrained` names."
    idle = [name for name, _ in _gradients(model, batch.without_targets(), objective)]
    assert not idle, f"A batch without targets must have no gradient, but {', '.join(idle)} has one."


def _gradients(model: nn.Module, batch: Any, objective: Any) -> list[tuple[str, Tensor]]:
    """Return the gradients of a batch that are not 0; raise AssertionError if one is not finite."""
    model.zero_grad()
    objective.build()(model, batch, StepContext(step=0)).total.backward()
    gradients = [(name, item.grad) for name, item in model.named_parameters() if item.grad is not None]
    for name, gradient in gradients:
        assert bool(gradient.isfinite().all()), f"The gradient of `{name}` is not finite."
    return [(name, gradient) for name, gradient in gradients if bool((gradient != 0).any())]
