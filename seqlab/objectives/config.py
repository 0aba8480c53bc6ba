"""The `objective` section of a run's config, one class per family."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class CrossEntropyConfig:
    """Cross entropy with teacher forcing."""

    family: Literal["cross_entropy"] = "cross_entropy"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the target's probability that is spread uniformly over the vocabulary. Left out, it is 0.1 for pairs and
    0 for text, whose perplexity it would worsen."""
    activation_penalty: Annotated[float, Field(ge=0)] = 0.0
    """Of recurrent models: weight of the mean square of what the last layer gives, after its dropout, at each token
    (the alpha of AWD-LSTM, Merity et al. 2018)."""
    slowness_penalty: Annotated[float, Field(ge=0)] = 0.0
    """Of recurrent models: weight of the mean square of how much that changes from one token to the next, before its
    dropout (the beta of AWD-LSTM)."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class RDropConfig:
    """Cross entropy of two passes with different dropout, and a penalty on their disagreement (Liang et al. 2021)."""

    family: Literal["r_drop"] = "r_drop"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target's probability that is spread uniformly over the vocabulary."""
    consistency: Annotated[float, Field(gt=0)] = 5.0
    """Weight of the divergence between the two predictions, the paper's alpha."""


ObjectiveConfig = Annotated[CrossEntropyConfig | RDropConfig, Field(discriminator="family")]
