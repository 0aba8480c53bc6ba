"""Scheduled sampling: replace a growing share of the decoder's reference inputs by its own predictions.

Bengio et al. 2015, arXiv:1506.03099. Recurrent decoders use the prediction of the previous step. Transformers make all
predictions in a first pass over the reference; the loss is that of a second pass, which uses them (Mihaylova & Martins
2019, arXiv:1906.07651).
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from pydantic import Field, model_validator

from seqlab.base.bounds import Positive
from seqlab.base.config_class import dataclass
from seqlab.data.batch import IGNORE, Seq2SeqBatch, TokenBatch
from seqlab.models.outputs import DecoderOutput
from seqlab.nn.input_mixing import InputMixing, Mixture
from seqlab.objectives.loss import SETTINGS, Loss, ObjectiveConfig, StepContext


@runtime_checkable
class MixingDecoder(Protocol):
    """A translator that can be trained with scheduled sampling (Bengio et al. 2015)."""

    def __call__(self, batch: Any, mixing: InputMixing | None = None) -> DecoderOutput:
        """Run a teacher-forced pass; `mixing` replaces some input tokens by the model's own predictions."""
        ...


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ScheduledSamplingConfig(ObjectiveConfig):
    """Scheduled sampling: cross entropy with the decoder's own predictions as some inputs (Bengio et al. 2015)."""

    family: Literal["scheduled_sampling"] = "scheduled_sampling"
    """Name of the objective."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Probability mass taken from the target and distributed uniformly over the vocabulary."""
    decay: Literal["linear", "exponential", "inverse_sigmoid"] = "inverse_sigmoid"
    """Decay of the share of reference inputs at step i, with k = `decay_steps`: 1 - i / k (`linear`), exp(-i / k)
    (`exponential`), or k / (k + exp(i / k)) (`inverse_sigmoid`), which is 0.5 after k ln k steps."""
    decay_steps: Positive = 1000.0
    """Steps k in the formula of `decay`; larger values decay more slowly."""
    least_reference: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Minimum share of reference inputs."""
    mixture: Mixture = "argmax"
    """Input derived from a prediction: the most probable token (`argmax`), a sampled token (`sampled`), or the mean
    embedding weighted by probability (`soft`). All tokens are used, even special tokens that a search excludes."""
    temperature: Positive = 1.0
    """Divisor of the logits, with `mixture: sampled` or `soft`."""

    tasks: ClassVar[tuple[str, ...]] = ("translation",)
    needs: ClassVar[tuple[type, ...]] = (MixingDecoder,)

    @model_validator(mode="after")
    def _check_temperature(self) -> "ScheduledSamplingConfig":
        if self.mixture == "argmax" and self.temperature != 1:
            raise ValueError(
                f"`temperature` ({self.temperature}) has no effect with `mixture: argmax`: leave it out, or set "
                "`mixture` to `sampled` or `soft`."
            )
        return self

    def build(self) -> "ScheduledSampling":
        """Build the objective."""
        return ScheduledSampling(self)


class ScheduledSampling:
    """Sum of the label-smoothed cross entropy of the references, with some inputs replaced by predictions."""

    def __init__(self, config: ScheduledSamplingConfig) -> None:
        self.config = config

    def __call__(self, model: Any, batch: TokenBatch, context: StepContext) -> Loss:
        """Compute the loss of a batch.

        Unit: target tokens. Logs: `nll`; `predicted_inputs`, the number of inputs that were predictions.
        """
        config = self.config
        assert isinstance(batch, Seq2SeqBatch), "scheduled sampling needs pairs"
        assert batch.tgt_in is not None, "scheduled sampling needs a target"
        assert batch.tgt_out is not None, "scheduled sampling needs a target"
        share = reference_share(config, context.step)
        mixing = None  # depends on the share, not on random draws, because all ranks must run the same number of passes
        if share < 1:
            mixing = InputMixing.draw(batch.tgt_in, share, config.mixture, config.temperature, context.generator)
        output: DecoderOutput = model(batch, mixing=mixing)
        total, nll = output.cross_entropy(batch.tgt_out, config.label_smoothing)
        predicted = batch.tgt_out != IGNORE
        is_replaced = predicted & ~mixing.is_reference if mixing is not None else torch.zeros_like(predicted)
        logs = {"nll": nll, "predicted_inputs": is_replaced.sum().to(nll)}
        return Loss(total, predicted.sum().to(total), logs)


def reference_share(config: ScheduledSamplingConfig, step: int) -> float:
    """Return the probability that an input is the reference, at a step."""
    k = config.decay_steps
    match config.decay:
        case "linear":
            share = 1 - step / k
        case "exponential":
            share = math.exp(-step / k)
        case "inverse_sigmoid":
            share = k / (k + math.exp(min(step / k, 700.0)))
    return max(config.least_reference, share)
