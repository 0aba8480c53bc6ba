"""A plugin with models and objectives that have one fault each, derived from the built-in ones as a user's own part is.

    seqlab diagnose RUN --plugin benchmarks.diagnosis.faulty_parts

The model `labeler_no_gradient` is `labeler` with the fault `no_gradient`; it has the same fields.
"""

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from dataclasses import fields, replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seqlab
from seqlab.base.config_class import dataclass
from seqlab.data.batch import IGNORE, Seq2SeqBatch, TextBatch, ValueBatch
from seqlab.models import SETTINGS, RecurrentConfig
from seqlab.models.config import ModelConfig
from seqlab.nn.feature_norm import BatchNorm
from seqlab.nn.recurrent_layer import RecurrentLayer
from seqlab.nn.recurrent_state import RecurrentState
from seqlab.objectives import CrossEntropyConfig, Loss, ObjectiveConfig, SoftmaxConfig, StepContext
from seqlab.registry import Parts

Change = Callable[[nn.Module], object]
LARGE_WEIGHTS = 30.0
"""Factor of the weights of a badly initialized output layer."""
DEAD_BIAS = -20.0
"""Bias with which a ReLU unit outputs 0 for each input."""
ALIVE_UNITS = 2
"""Units of each layer that are not dead."""
CLOSED_GATE = -10.0
"""Bias with which a gate lets less than 0.005% of a state pass."""
RECURRENT_GAIN = 2.5
"""Factor of recurrent matrices that multiplies the gradient at each step back in time."""
PADDED_LENGTH = 64
"""Length of targets that are padded before their loss is computed."""


def detach_output(module: str, model: nn.Module) -> None:
    """Cut the graph after a module, so that its parameters have no gradient."""
    model.get_submodule(module).register_forward_hook(lambda _, __, output: _detached(output))


def _detached(value: Any) -> Any:
    if isinstance(value, tuple):
        parts = [_detached(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value.detach() if isinstance(value, Tensor | RecurrentState) else value


def enlarge_weights(module: str, model: nn.Module) -> None:
    """Multiply the initial weights of the output layer."""
    weight = model.get_submodule(module).weight
    assert isinstance(weight, nn.Parameter)
    with torch.no_grad():
        weight.mul_(LARGE_WEIGHTS)


def kill_units(name: str, model: nn.Module) -> None:
    """Initialize the biases with a name so low that the ReLU after them outputs 0 for each input."""
    for key, bias in model.named_parameters():
        if key.endswith(name):
            nn.init.constant_(bias.detach()[ALIVE_UNITS:], DEAD_BIAS)


def close_gates(model: nn.Module) -> None:
    """Close the gates that keep the state: the forget gate of LSTMs, the update gate of GRUs."""
    for layer in model.modules():
        if isinstance(layer, RecurrentLayer):
            size = layer.hidden_size
            nn.init.constant_(layer.from_input.bias.detach()[size : 2 * size], CLOSED_GATE)
            layer.from_hidden.weight.detach().mul_(0.01)


def amplify_recurrence(model: nn.Module) -> None:
    """Multiply the recurrent matrices, so that gradients grow over time."""
    for layer in model.modules():
        if isinstance(layer, RecurrentLayer):
            layer.from_hidden.weight.detach().mul_(RECURRENT_GAIN)


def freeze_statistics(model: nn.Module) -> None:
    """Never update the running mean and variance of batch norms, which evaluation uses."""
    for layer in model.modules():
        if isinstance(layer, BatchNorm):
            layer.momentum = 0.0


def read_raw_inputs(model: nn.Module) -> None:
    """Read inputs in other units: far from a mean of 0 and a deviation of 1."""

    def rescale(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        batch: ValueBatch = arguments[0]
        return replace(batch, src=100 * batch.src + 200), *arguments[1:]

    model.register_forward_pre_hook(rescale)


def read_targets(model: nn.Module) -> None:
    """Feed each position the token that it must predict, instead of the one before."""

    def unshift(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        batch: Seq2SeqBatch | TextBatch = arguments[0]
        assert batch.tgt_in is not None
        assert batch.tgt_out is not None
        targets = torch.where(batch.tgt_out == IGNORE, batch.tgt_in, batch.tgt_out)
        return replace(batch, tgt_in=targets), *arguments[1:]

    model.register_forward_pre_hook(unshift)


def see_future_text(model: nn.Module) -> None:
    """Let the layers of a language model attend to later positions."""
    for layer in model.get_submodule("layers").children():
        layer.register_forward_pre_hook(
            lambda _, arguments, options: (arguments, {**options, "is_causal": False}), with_kwargs=True
        )


def see_future_targets(model: nn.Module) -> None:
    """Let the layers of a translator's decoder attend to later positions."""

    def unmask(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        x, memory, need_weights = arguments
        return x, memory, need_weights, x.new_zeros(x.size(0), 1, 1, x.size(1))

    for layer in model.get_submodule("decoder.layers").children():
        layer.register_forward_pre_hook(unmask)


WITH_ENCODER = ("predictor", "labeler", "recording_labeler", "language_model")
"""Families that are an encoder and a head."""
ENCODERS = {
    **dict.fromkeys(WITH_ENCODER, "encoder"),
    **{"cnn": "blocks", "transformer_lm": "layers.1", "transformer": "encoder", "gru": "encoder"},
}
"""Family -> module whose parameters have no gradient with the fault `no_gradient`."""
OUTPUTS = {
    **{"predictor": "head.project", "recording_labeler": "head.project", "labeler": "head.projection"},
    **{"cnn": "project", **dict.fromkeys(("transformer_lm", "language_model", "transformer", "gru"), "projection")},
}
"""Family -> output layer."""
RELU_BIASES = {"predictor": "hidden.0.project.bias", "labeler": ".bias", "recording_labeler": "convolution.bias"}
"""Family -> ending of the names of the biases before ReLUs."""
MODEL_FAULTS: dict[str, dict[str, Change]] = {
    "no_gradient": {family: partial(detach_output, module) for family, module in ENCODERS.items()},
    "bad_initialization": {family: partial(enlarge_weights, module) for family, module in OUTPUTS.items()},
    "dead_units": {family: partial(kill_units, name) for family, name in RELU_BIASES.items()},
    "vanishing_gradient": dict.fromkeys(("labeler", "language_model", "gru"), close_gates),
    "exploding_gradient": dict.fromkeys(("labeler", "language_model", "rnn"), amplify_recurrence),
    "batch_norm_statistics": dict.fromkeys(("predictor", "cnn"), freeze_statistics),
    "unscaled_inputs": dict.fromkeys(("predictor", "cnn", "recording_labeler"), read_raw_inputs),
    "unshifted_targets": dict.fromkeys(("transformer_lm", "language_model", "transformer", "gru"), read_targets),
    "future_visible": {"transformer_lm": see_future_text, "transformer": see_future_targets},
}
"""Fault -> family -> change of the built model."""


def _register_model(family: str, fault: str, change: Change) -> None:
    """Register a family that builds the model of another one and changes it."""
    base: type[ModelConfig] = Parts("model")[family]

    def build(self: ModelConfig, src: Any, tgt: Any) -> nn.Module:
        model: nn.Module = base.build(self, src, tgt)
        change(model)
        return model

    name = f"{family}_{fault}"
    members: dict[str, Any] = {"__annotations__": {"family": Literal[name]}, "family": name, "build": build}
    members |= {"__doc__": f"The model `{family}` with the fault `{fault}`.", "__module__": __name__}
    if issubclass(base, RecurrentConfig):
        members["kind"] = family
    config = type(f"Faulty{base.__name__}{family}{fault}", (base,), members)
    seqlab.register("model")(dataclass(frozen=True, kw_only=True, config=SETTINGS)(config))


for _fault, _changes in MODEL_FAULTS.items():
    for _family, _change in _changes.items():
        _register_model(_family, _fault, _change)


@plain_dataclass(frozen=True)
class NegatedLoss:
    """The loss of another objective with the wrong sign, so that updates raise it."""

    objective: Any

    def __call__(self, model: Any, batch: Any, context: StepContext) -> Loss:
        """Compute the negative loss of a batch."""
        loss: Loss = self.objective(model, batch, context)
        return -1.0 * loss


@plain_dataclass(frozen=True)
class PaddedLoss:
    """The loss of another objective over targets with a fixed length, whose padding counts as targets."""

    objective: Any

    def __call__(self, model: Any, batch: Seq2SeqBatch, context: StepContext) -> Loss:
        """Compute the loss of a batch."""
        assert batch.tgt_in is not None
        assert batch.tgt_out is not None
        assert context.sides is not None, "training sets the sides"
        pad_id = context.sides[1].pad_id
        padding = (0, max(0, PADDED_LENGTH - batch.tgt_in.size(1)))
        targets = F.pad(batch.tgt_out, padding, value=pad_id)
        targets = targets.masked_fill(targets == IGNORE, pad_id)
        padded = replace(batch, tgt_in=F.pad(batch.tgt_in, padding, value=pad_id), tgt_out=targets)
        loss: Loss = self.objective(model, padded, context)
        return loss


@seqlab.register("objective")
@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class NegatedCrossEntropyConfig(CrossEntropyConfig):
    """Cross entropy with the fault `wrong_sign`."""

    family: Literal["cross_entropy_wrong_sign"] = "cross_entropy_wrong_sign"  # type: ignore[assignment]

    def build(self) -> NegatedLoss:  # type: ignore[override]
        """Build the objective."""
        return NegatedLoss(super().build())


@seqlab.register("objective")
@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class NegatedSoftmaxConfig(SoftmaxConfig):
    """Softmax cross entropy with the fault `wrong_sign`."""

    family: Literal["softmax_wrong_sign"] = "softmax_wrong_sign"  # type: ignore[assignment]

    def build(self) -> NegatedLoss:  # type: ignore[override]
        """Build the objective."""
        return NegatedLoss(super().build())


@seqlab.register("objective")
@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PaddedCrossEntropyConfig(CrossEntropyConfig):
    """Cross entropy with the fault `padding_in_loss`."""

    family: Literal["cross_entropy_padding_in_loss"] = "cross_entropy_padding_in_loss"  # type: ignore[assignment]

    def build(self) -> PaddedLoss:  # type: ignore[override]
        """Build the objective."""
        return PaddedLoss(super().build())


def faulty_part(config: ModelConfig | ObjectiveConfig, fault: str) -> Any:
    """Return the config of the same model or objective with a fault."""
    parts: Any = Parts(config.part_kind)
    values = {each.name: getattr(config, each.name) for each in fields(config) if each.name != "family"}  # type: ignore[arg-type]
    return parts[f"{config.family}_{fault}"](**values)
