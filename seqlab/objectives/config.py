"""The `objective` section of a run's config, one class per family."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from seqlab.models.interfaces import Mixture

GUIDED_WIDTH = 0.2
"""How far from the diagonal attention is guided to unless another width is given."""
_SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
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
    guided_attention: Annotated[float, Field(ge=0)] = 0.0
    """Of translators: weight of the cost of attention away from the diagonal, for each token between 0 and 1 (Tachibana
    et al. 2018); for targets that follow their source from its beginning to its end, as sounds follow letters."""
    guided_width: Annotated[float, Field(gt=0)] = GUIDED_WIDTH
    """Where `guided_attention` is above 0, how far from the diagonal attention may be at little cost, as a share of the
    sentence."""

    @model_validator(mode="after")
    def _check_guided_width(self) -> "CrossEntropyConfig":
        if not self.guided_attention and self.guided_width != GUIDED_WIDTH:
            raise ValueError(
                f"`guided_width` ({self.guided_width}) is the width of a guide that there is none of: set "
                "`guided_attention` above 0, or leave it out."
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class RDropConfig:
    """Cross entropy of two passes with different dropout, and a penalty on their disagreement (Liang et al. 2021)."""

    family: Literal["r_drop"] = "r_drop"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target's probability that is spread uniformly over the vocabulary."""
    consistency: Annotated[float, Field(gt=0)] = 5.0
    """Weight of the divergence between the two predictions, the paper's alpha."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class ScheduledSamplingConfig:
    """Cross entropy where the decoder reads its own predictions more and more often (Bengio et al. 2015)."""

    family: Literal["scheduled_sampling"] = "scheduled_sampling"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target's probability that is spread uniformly over the vocabulary."""
    decay: Literal["linear", "exponential", "inverse_sigmoid"] = "inverse_sigmoid"
    """How the share of reference inputs falls with the step i and k `decay_steps`: 1 - i / k, exp(-i / k), or
    k / (k + exp(i / k)), which is one half after k ln k steps."""
    decay_steps: Annotated[float, Field(gt=0)] = 1000.0
    """How slowly it falls."""
    least_reference: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share that it does not fall below."""
    mixture: Mixture = "argmax"
    """What is read of a prediction: the likeliest symbol, one that is drawn, or the mean embedding of all symbols, by
    their probabilities. All of the vocabulary count, those too that a search never says."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """What logits are divided by before a symbol is drawn, or embeddings are averaged."""

    @model_validator(mode="after")
    def _check_temperature(self) -> "ScheduledSamplingConfig":
        if self.mixture == "argmax" and self.temperature != 1:
            raise ValueError(
                f"`temperature` ({self.temperature}) does not change which symbol is likeliest: leave it out, or set "
                "`mixture` to `sampled` or `soft`."
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class GlancingConfig:
    """The fields of all objectives that may show the decoder a part of the target (Qian et al. 2021)."""

    glancing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of positions: how many are shown to the decoder in training, as a share of those that a first pass gets wrong
    (Qian et al. 2021); 0 shows none and saves that pass."""
    least_glancing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share that `glancing` falls to, in a straight line."""
    decay_steps: Annotated[float, Field(gt=0)] = 10_000
    """Steps in which it falls."""

    @model_validator(mode="after")
    def _check_glancing(self) -> "GlancingConfig":
        if self.least_glancing > self.glancing:
            raise ValueError(
                f"`least_glancing` must be at most `glancing` ({self.glancing}), but is {self.least_glancing} instead."
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class CtcConfig(GlancingConfig):
    """The probability of all paths through a model's frames that say the target (Graves et al. 2006)."""

    family: Literal["ctc"] = "ctc"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the loss that is what all ids of the vocabulary cost in the mean, in each frame."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class ParallelCrossEntropyConfig(GlancingConfig):
    """Cross entropy of all symbols of a target at once, and of its length (Gu et al. 2018)."""

    family: Literal["parallel_cross_entropy"] = "parallel_cross_entropy"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target's probability that is spread uniformly over the vocabulary."""
    length_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of what the lengths of the targets cost."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class CmlmConfig:
    """Cross entropy of the hidden symbols of a target given the others, of which there are any number, and of its
    length (conditional masked language model, Ghazvininejad et al. 2019)."""

    family: Literal["cmlm"] = "cmlm"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target's probability that is spread uniformly over the vocabulary."""
    length_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of what the lengths of the targets cost."""
    own_words: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the targets that are learned beside words of the model's own, which fill the gaps of a pass before: of
    these it learns to say all symbols anew, those that it is shown included (after Ghazvininejad et al. 2020,
    arXiv:2001.08785). Such a target counts with all of its symbols, another with those that are hidden, half of them
    in the mean."""


ObjectiveConfig = Annotated[
    CrossEntropyConfig | RDropConfig | ScheduledSamplingConfig | CtcConfig | ParallelCrossEntropyConfig | CmlmConfig,
    Field(discriminator="family"),
]
"""What is optimised: (model, batch, context) to a `Loss`. All families of objectives are named here, once."""
