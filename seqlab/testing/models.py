"""Check of models: their outputs do not depend on the batch, and weights can be saved and trained."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.data.batch import IGNORE
from seqlab.inference.scorer import Scorer
from seqlab.models.outputs import DecoderOutput
from seqlab.objectives import StepContext
from seqlab.registry import Parts
from seqlab.search.protocols import Stepper
from seqlab.tasks.labelling.text_labeler import Labeller
from seqlab.testing.assertions import (
    explaining_errors,
    require,
    require_close,
    require_config,
    require_examples,
    unchanged,
)
from seqlab.testing.layouts import check_model_layouts
from seqlab.testing.random_examples import Examples
from seqlab.testing.steppers import STEP_TOLERANCE, check_stepper

Outputs = Callable[[Any, Any], list[Tensor]]
"""Function (model, batch) that returns the outputs of each row without padding."""
DEVIATION = 0.1
"""Standard deviation of the noise that is added to biases, scales and weights of 0."""


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
    if not isinstance(outputs, Tensor):
        raise AssertionError(
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
    """Check a model on a few examples; it sets the seed of torch's global generator.

    1. Two passes in evaluation mode have the same outputs, and leave the batch as it is.
    2. Each row has the same outputs alone, in a batch, and in a batch of another order.
    3. The same seed builds the same weights, and `state_dict` restores them in another model after a pass in training
       mode: the outputs are equal.
    4. The pass for the loss gives the log-probabilities of `score`; also in training mode, if it draws no random
       numbers with all dropouts of the config at 0. A mask that shows future tokens only in training fails here.
    5. The loss has a finite gradient for each parameter, and none for batches without targets.
    6. A language model supports its `abilities`: packed rows, and rows that continue.
    7. A `Stepper` passes `check_stepper`.

    Args:
        config: config of the model.
        examples: examples of its data: `token_pairs()`, `texts()`, `labeled_lines()`, `recordings()` and so on.
        objective: config of the objective; None for the default objective of the model.
        outputs: the outputs of each row of a batch, for models without `score` and `label`.
        tolerance: largest difference of a row alone and in a batch; 0 for equal bits. Convolutions need about 1e-4.
        untrained: names of parameters that must have no gradient, or their last parts (`bias` for `hidden.bias`).
        has_attention: whether the steps return attention.

    Raises:
        AssertionError: one of these does not hold; the message names it.
    """
    require_examples(examples)
    require_config(config, "config")
    objective = objective or Parts("objective")[config.default_objective]()
    require_config(objective, "objective")
    with explaining_errors(f"The model of {type(config).__name__}"):
        model = build(config, examples)
        require(isinstance(model, nn.Module), f"`build` must return a torch module, but returned {model!r}.")
        with torch.no_grad():
            _check_rows(model, examples, outputs, tolerance)
            _check_weights(config, examples, outputs)
            _check_training_pass(config, examples)
            check_model_layouts(config, model, examples.all())
        _check_gradients(build(config, examples), examples.all(), objective, untrained)
    if isinstance(model, Stepper):
        check_stepper(model, examples, tolerance=tolerance, has_attention=has_attention)


def build(config: Any, examples: Examples, seed: int = 0) -> nn.Module:
    """Build a model in evaluation mode, with random biases, scales and zeros, so that errors in them change outputs."""
    torch.manual_seed(seed)
    model: nn.Module = config.build(examples.src, examples.tgt)
    if isinstance(model, nn.Module):
        model.eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1 or not parameter.any():
                    parameter.add_(DEVIATION * torch.randn_like(parameter))
    return model


def _check_rows(model: nn.Module, examples: Examples, outputs: Outputs, tolerance: float) -> None:
    batch = examples.all()
    with unchanged(batch):
        together = outputs(model, batch)
    for row, (again, output) in enumerate(zip(outputs(model, batch), together, strict=True)):
        require_close(again, output, 0.0, f"the outputs of row {row} in two passes")
    backwards = outputs(model, examples.collate(range(examples.count)[::-1]))[::-1]
    for row, output in enumerate(together):
        [alone] = outputs(model, examples.collate([row]))
        require_close(alone, output, tolerance, f"the outputs of row {row} alone and in a batch")
        require_close(backwards[row], output, tolerance, f"the outputs of row {row} in batches of another order")


def _check_training_pass(config: Any, examples: Examples) -> None:
    """Compare the log-probabilities of the pass that objectives call with `score`, in both modes, without dropout."""
    names = [item.name for item in fields(config) if item.name.endswith("dropout")] if is_dataclass(config) else []
    model, batch = build(replace(config, **dict.fromkeys(names, 0.0)) if names else config, examples), examples.all()
    if not isinstance(model, Scorer):
        return
    scores = model.score(batch)[batch.tgt_out != IGNORE]
    for mode in ("evaluation", "training"):
        passes = [model.train(mode == "training")(batch) for _ in range(2)]
        if not isinstance(passes[0], DecoderOutput):
            return
        first, second = (output.target_log_probs(batch.tgt_out) for output in passes)
        if torch.equal(first, second):  # no dropout
            what = f"the log-probabilities of the pass for the loss, in {mode} mode, and of `score`"
            require_close(first, scores, STEP_TOLERANCE, what)


def _check_weights(config: Any, examples: Examples, outputs: Outputs) -> None:
    model, again, other = build(config, examples), build(config, examples), build(config, examples, seed=1)
    for name, value in model.state_dict().items():
        require_close(again.state_dict()[name], value, 0.0, f"`{name}` of two models with the same seed")
    batch = examples.all()
    model.train()(batch)  # may change buffers
    model.eval()
    other.load_state_dict(model.state_dict())
    for actual, expected in zip(outputs(other, batch), outputs(model, batch), strict=True):
        require_close(actual, expected, 0.0, "the outputs of a model and of another one with its `state_dict`")


def _check_gradients(model: nn.Module, batch: Any, objective: Any, untrained: tuple[str, ...]) -> None:
    model.train()
    trained = {name for name, _ in _gradients(model, batch, objective)}
    expected = {
        name
        for name, item in model.named_parameters()
        if item.requires_grad and not any(name == end or name.endswith(f".{end}") for end in untrained)
    }
    missing, unexpected = sorted(expected - trained), sorted(trained - expected)
    require(not missing, f"The loss has no gradient for {', '.join(missing)}: name them as `untrained` if meant.")
    require(not unexpected, f"The loss has a gradient for {', '.join(unexpected)}, which `untrained` names.")
    idle = [name for name, _ in _gradients(model, batch.without_targets(), objective)]
    require(not idle, f"A batch without targets must have no gradient, but {', '.join(idle)} has one.")


def _gradients(model: nn.Module, batch: Any, objective: Any) -> list[tuple[str, Tensor]]:
    """Return the gradients of a batch that are not 0; raise AssertionError if one is not finite."""
    torch.manual_seed(0)
    model.zero_grad()
    objective.build()(model, batch, StepContext(step=0, generator=torch.default_generator)).total.backward()
    gradients = [(name, item.grad) for name, item in model.named_parameters() if item.grad is not None]
    for name, gradient in gradients:
        require(bool(gradient.isfinite().all()), f"The gradient of `{name}` is not finite.")
    return [(name, gradient) for name, gradient in gradients if bool((gradient != 0).any())]
