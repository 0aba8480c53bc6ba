"""Scheduled sampling (Bengio et al. 2015, arXiv:1506.03099): less and less of what the decoder reads is the reference.

Recurrent decoders predict step by step, and read what they have predicted. Transformers, which read all positions at
once, predict in a first pass from the reference and read these predictions in a second one, whose loss it is (Mihaylova
& Martins 2019, arXiv:1906.07651).
"""

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import Positive
from seqlab.data.batch import IGNORE, Seq2SeqBatch, TokenBatch
from seqlab.models.interfaces import DecoderOutput, InputMixing, MixingDecoder, Mixture
from seqlab.objectives.loss import SETTINGS, Loss, ObjectiveConfig, StepContext


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ScheduledSamplingConfig(ObjectiveConfig):
    """Cross entropy where the decoder reads its own predictions more and more often (Bengio et al. 2015)."""

    family: Literal["scheduled_sampling"] = "scheduled_sampling"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target's probability that is spread uniformly over the vocabulary."""
    decay: Literal["linear", "exponential", "inverse_sigmoid"] = "inverse_sigmoid"
    """How the share of reference inputs falls with the step i and k `decay_steps`: 1 - i / k, exp(-i / k), or
    k / (k + exp(i / k)), which is one half after k ln k steps."""
    decay_steps: Positive = 1000.0
    """How slowly it falls."""
    least_reference: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share that it does not fall below."""
    mixture: Mixture = "argmax"
    """What is read of a prediction: the likeliest symbol, one that is drawn, or the mean embedding of all symbols, by
    their probabilities. All of the vocabulary count, those too that a search never says."""
    temperature: Positive = 1.0
    """What logits are divided by before a symbol is drawn, or embeddings are averaged."""

    tasks: ClassVar[tuple[str, ...]] = ("translation",)
    needs: ClassVar[tuple[type, ...]] = (MixingDecoder,)

    @model_validator(mode="after")
    def _check_temperature(self) -> "ScheduledSamplingConfig":
        if self.mixture == "argmax" and self.temperature != 1:
            raise ValueError(
                f"`temperature` ({self.temperature}) does not change which symbol is likeliest: leave it out, or set "
                "`mixture` to `sampled` or `soft`."
            )
        return self

    def build(self) -> "ScheduledSampling":
        """Build the objective."""
        return ScheduledSampling(self)


class ScheduledSampling:
    """Sum the smoothed cross entropy of the references, whatever the decoder has read before them."""

    def __init__(self, config: ScheduledSamplingConfig) -> None:
        self.config = config

    def __call__(self, model: Any, batch: TokenBatch, context: StepContext) -> Loss:
        """Unit: target tokens. Logs: `nll`; `predicted_inputs`, how many inputs were predictions."""
        config = self.config
        assert isinstance(batch, Seq2SeqBatch), "scheduled sampling is for translators"
        assert batch.tgt_in is not None, "scheduled sampling needs a target"
        assert batch.tgt_out is not None, "scheduled sampling needs a target"
        share = reference_share(config, context.step)
        mixing = None  # by the share, not by what is drawn: where weights are divided all ranks must run as many passes
        if share < 1:
            mixing = InputMixing.draw(batch.tgt_in, share, config.mixture, config.temperature, context.generator)
        output: DecoderOutput = model(batch, mixing=mixing)
        total, nll = output.cross_entropy(batch.tgt_out, config.label_smoothing)
        predicted = batch.tgt_out != IGNORE
        own = predicted & ~mixing.is_reference if mixing is not None else torch.zeros_like(predicted)
        logs = {"nll": nll, "predicted_inputs": own.sum().to(nll)}
        return Loss(total, predicted.sum().to(total), logs)


def reference_share(config: ScheduledSamplingConfig, step: int) -> float:
    """Give the probability that an input is the reference after so many steps."""
    k = config.decay_steps
    match config.decay:
        case "linear":
            share = 1 - step / k
        case "exponential":
            share = math.exp(-step / k)
        case "inverse_sigmoid":
            share = k / (k + math.exp(min(step / k, 700.0)))
    return max(config.least_reference, share)
