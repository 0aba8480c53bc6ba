"""Cross entropy with teacher forcing and label smoothing (Szegedy et al. 2016), and penalties on activations."""

from typing import Any

from torch import Tensor

from seqlab.data.batch import IGNORE, Batch
from seqlab.models.interfaces import DecoderOutput
from seqlab.objectives.config import CrossEntropyConfig
from seqlab.objectives.guided_attention import diagonal_cost
from seqlab.objectives.loss import Loss, StepContext


class CrossEntropy:
    """Sum the smoothed cross entropy over target tokens, the end of sentence counted."""

    def __init__(self, config: CrossEntropyConfig) -> None:
        """Without a `label_smoothing`, which the config of a run always has, there is none."""
        self.config, self.label_smoothing = config, config.label_smoothing or 0.0

    def __call__(self, model: Any, batch: Batch, context: StepContext) -> Loss:
        """Unit: target tokens. Logs: `nll`, the unsmoothed loss; where they are asked for `penalty`, and `strayed`, how
        far attention is from the diagonal."""
        assert batch.tgt_out is not None, "cross entropy needs a target"
        output = self._output(model, batch, context)
        predicted = batch.tgt_out != IGNORE
        total, nll = output.cross_entropy(batch.tgt_out, self.label_smoothing)
        logs = {"nll": nll}
        if self.config.activation_penalty or self.config.slowness_penalty:
            penalty = self._penalty(output, predicted)
            total, logs["penalty"] = total + penalty, penalty.detach()
        if self.config.guided_attention:
            strayed = self._strayed(output, batch)
            total, logs["strayed"] = total + self.config.guided_attention * strayed, strayed.detach()
        return Loss(total, total.new_tensor(int(predicted.sum())), logs, output.carry)

    def _output(self, model: Any, batch: Batch, context: StepContext) -> DecoderOutput:
        """Run a teacher-forced pass, with its attention where that is guided."""
        if self.config.guided_attention:
            output: DecoderOutput = model(batch, need_attention=True)
        else:
            output = model(batch) if context.carry is None else model(batch, context.carry)
        return output

    def _strayed(self, output: DecoderOutput, batch: Batch) -> Tensor:
        """Sum over the tokens how far their attention is from the diagonal."""
        assert output.attention is not None, "it was asked for"
        assert output.src_places is not None, "it comes with the attention"
        assert batch.tgt_out is not None, "cross entropy needs a target"
        return diagonal_cost(output.attention, output.src_places, batch.tgt_out, self.config.guided_width)

    def _penalty(self, output: DecoderOutput, predicted: Tensor) -> Tensor:
        """Sum over the tokens (B, T) that are predicted what activation regularisation costs (Merity et al. 2017)."""
        assert output.undropped is not None, "the config asks for these of recurrent models only"
        dropped, undropped = output.hidden.float(), output.undropped.float()
        size = dropped.square().mean(-1)[predicted].sum()
        changes = (undropped[:, 1:] - undropped[:, :-1]).square().mean(-1)[predicted[:, 1:]].sum()
        return self.config.activation_penalty * size + self.config.slowness_penalty * changes
