"""Cross entropy with teacher forcing and label smoothing (Szegedy et al. 2016)."""

from typing import Any

from seqlab.data.batch import IGNORE, Batch
from seqlab.models.interfaces import DecoderOutput
from seqlab.objectives.config import CrossEntropyConfig
from seqlab.objectives.loss import Loss, StepContext


class CrossEntropy:
    """Sum the smoothed cross entropy over target tokens, the end of sentence counted."""

    def __init__(self, config: CrossEntropyConfig) -> None:
        self.config = config

    def __call__(self, model: Any, batch: Batch, context: StepContext) -> Loss:
        """Unit: target tokens. Logs: `nll`, the unsmoothed loss."""
        assert batch.tgt_out is not None, "cross entropy needs a target"
        output: DecoderOutput = model(batch) if context.carry is None else model(batch, context.carry)
        predicted = batch.tgt_out != IGNORE
        targets = batch.tgt_out[predicted]
        total, nll = output.projection.cross_entropy(output.hidden[predicted], targets, self.config.label_smoothing)
        return Loss(total, total.new_tensor(targets.numel()), {"nll": nll}, output.carry)
