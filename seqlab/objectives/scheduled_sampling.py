"""Scheduled sampling (Bengio et al. 2015, arXiv:1506.03099): less and less of what the decoder reads is the reference.

Recurrent decoders predict step by step, and read what they have predicted. Transformers, which read all positions at
once, predict in a first pass from the reference and read these predictions in a second one, whose loss it is (Mihaylova
& Martins 2019, arXiv:1906.07651).
"""

import math
from typing import Any

import torch

from seqlab.data.batch import IGNORE, Batch, Seq2SeqBatch
from seqlab.models.interfaces import DecoderOutput, InputMixing
from seqlab.objectives.config import ScheduledSamplingConfig
from seqlab.objectives.loss import Loss, StepContext


class ScheduledSampling:
    """Sum the smoothed cross entropy of the references, whatever the decoder has read before them."""

    def __init__(self, config: ScheduledSamplingConfig) -> None:
        self.config = config

    def __call__(self, model: Any, batch: Batch, context: StepContext) -> Loss:
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
        return Loss(total, total.new_tensor(int(predicted.sum())), logs)


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
