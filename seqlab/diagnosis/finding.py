"""Findings of a diagnosis: a cause, its evidence, and what to try next."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

Level = Literal["likely", "worth a look"]
LIKELY = 0.7
"""Minimum confidence of a likely cause; others are worth a look."""
PAGE = "docs/how_to/diagnose.md"

CAUSES: Mapping[str, str] = MappingProxyType(
    {
        "shuffled_labels": "the inputs do not determine the targets: they may be shuffled",
        "label_noise": "part of the targets are wrong",
        "shifted_pairs": "inputs and targets are shifted against each other from one row on",
        "swapped_sides": "source and target are exchanged in one of the splits",
        "leakage": "validation rows are also in the training data",
        "duplicates": "many training rows are repeated",
        "mismatch": "validation rows differ from training rows",
        "other_reading": "the validation rows are written or encoded differently from the training rows",
        "unscaled_inputs": "the inputs have very different scales",
        "too_little_data": "there are too few training rows",
        "unshifted_targets": "the model receives the token that it must predict",
        "future_visible": "a mask lets the model see later tokens",
        "padding_in_loss": "padding changes the loss",
        "no_gradient": "some parameters get no gradient",
        "bad_initialization": "the initial weights give extreme outputs",
        "wrong_sign": "updates increase the loss: a sign or a weight in it is wrong",
        "dead_units": "many units never react to the input",
        "vanishing_gradient": "the gradient vanishes over the layers",
        "exploding_gradient": "the gradient explodes",
        "batch_norm_statistics": "the statistics of batch normalization do not fit the weights",
        "lr_too_high": "the learning rate is too high",
        "lr_too_low": "the learning rate is too low",
        "schedule_ended": "the learning rate was near 0 long before the end",
        "clipping": "gradient clipping slows training down",
        "batch_too_large": "the batches are too large for the number of rows",
        "too_much_regularization": "regularization keeps the model from learning",
        "saddle_point": "the weights are at a saddle of the loss, where the gradient is 0",
        "model_too_small": "the model is too small",
        "overfitting": "the model overfits: it needs more regularization",
        "too_few_steps": "training was too short",
    }
)
"""Name of each cause -> its description."""


CONSEQUENCES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        cause: frozenset({"batch_norm_statistics", "mismatch", "other_reading", "overfitting"})
        for cause in ("duplicates", "too_little_data")
    }
    | {"wrong_sign": frozenset({"unshifted_targets"})}
)
"""Cause -> causes that it explains: with few different rows, others have other words, and statistics of a batch norm
differ; a negated loss is as low as that of a model that receives its targets."""


@dataclass(frozen=True)
class Finding:
    """A cause that experiments support."""

    cause: str
    """Name in `CAUSES`."""
    evidence: str
    """What was changed, and how much a measurement moved."""
    confidence: float
    """From 0 to 1."""
    command: str = ""
    """Command that tries the next thing."""

    @property
    def title(self) -> str:
        """Description of the cause."""
        return CAUSES[self.cause]

    @property
    def level(self) -> Level:
        """Whether the cause is likely, or only worth a look."""
        return "likely" if self.confidence >= LIKELY else "worth a look"

    @property
    def page(self) -> str:
        """Section of the documentation that explains the cause."""
        return f"{PAGE}#{self.cause.replace('_', '-')}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {"title": self.title, "level": self.level, "page": self.page} | asdict(self)


class LeftOut(ValueError):
    """A question makes no sense for a run, or cannot be answered; the message is the reason."""
