"""Cross entropy with teacher forcing and label smoothing (Szegedy et al. 2016), and penalties on activations."""

from typing import Any

from torch import Tensor

from seqlab.data.batch import IGNORE, Batch
from seqlab.models.interfaces import DecoderOutput
from seqlab.objectives.config import CrossEntropyConfig
from seqlab.objectives.loss import Loss, StepContext


class CrossEntropy:
    """Sum the smoothed cross entropy over target tokens, the end of sentence counted."""

    def __init__(self, config: CrossEntropyConfig) -> None:
        """Without a `label_smoothing`, which the config of a run always has, there is none."""
        self.config, self.label_smoothing = config, config.label_smoothing or 0.0

    def __call__(self, model: Any, batch: Batch, context: StepContext) -> Loss:
        """Unit: target tokens. Logs: `nll`, the unsmoothed loss, and `penalty` where there is one."""
        assert batch.tgt_out is not None, "cross entropy needs a target"
        output: DecoderOutput = model(batch) if context.carry is None else model(batch, context.carry)
        predicted = batch.tgt_out != IGNORE
        targets = batch.tgt_out[predicted]
        total, nll = output.projection.cross_entropy(output.hidden[predicted], targets, self.label_smoothing)
        logs = {"nll": nll}
        if self.config.activation_penalty or self.config.slowness_penalty:
            penalty = self._penalty(output, predicted)
            total, logs["penalty"] = total + penalty, penalty.detach()
        return Loss(total, total.new_tensor(targets.numel()), logs, output.carry)

    def _penalty(self, output: DecoderOutput, predicted: Tensor) -> Tensor:
        """Sum over the tokens (B, T) that are predicted what activation regularisation costs (Merity et al. 2017)."""
        assert output.undropped is not None, "the config asks for these of recurrent models only"
        dropped, undropped = output.hidden.float(), output.undropped.float()
        size = dropped.square().mean(-1)[predicted].sum()
        changes = (undropped[:, 1:] - undropped[:, :-1]).square().mean(-1)[predicted[:, 1:]].sum()
        return self.config.activation_penalty * size + self.config.slowness_penalty * changes
