"""Cross entropy with teacher forcing and label smoothing (Szegedy et al. 2016), and penalties on activations."""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from seqlab.base.bounds import NonNegative, Positive
from seqlab.data.batch import IGNORE, TokenBatch
from seqlab.models.interfaces import DecoderOutput
from seqlab.objectives.loss import SETTINGS, Loss, ObjectiveConfig, StepContext

GUIDED_WIDTH = 0.2
"""How far from the diagonal attention is guided to unless another width is given."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CrossEntropyConfig(ObjectiveConfig):
    """Cross entropy with teacher forcing."""

    family: Literal["cross_entropy"] = "cross_entropy"
    """Which objective this is."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the target's probability that is spread uniformly over the vocabulary. Left out, it is 0.1 for pairs and
    0 for text, whose perplexity it would worsen."""
    activation_penalty: NonNegative = 0.0
    """Of recurrent models: weight of the mean square of what the last layer gives, after its dropout, at each token
    (the alpha of AWD-LSTM, Merity et al. 2018)."""
    slowness_penalty: NonNegative = 0.0
    """Of recurrent models: weight of the mean square of how much that changes from one token to the next, before its
    dropout (the beta of AWD-LSTM)."""
    guided_attention: NonNegative = 0.0
    """Of translators: weight of the cost of attention away from the diagonal, for each token between 0 and 1 (Tachibana
    et al. 2018); for targets that follow their source from its beginning to its end, as sounds follow letters."""
    guided_width: Positive = GUIDED_WIDTH
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

    def build(self) -> "CrossEntropy":
        """Build the objective."""
        return CrossEntropy(self)

    def check(self, config: Any) -> None:
        """Raise ValueError where an extra term is on what the model or the data does not have."""
        family = config.model.family
        if (self.activation_penalty or self.slowness_penalty) and not config.model.is_recurrent:
            raise ValueError(
                f"`objective.activation_penalty` and `objective.slowness_penalty` are for recurrent models, not for "
                f"`model.family: {family}`: set them to 0."
            )
        if self.guided_attention and not config.model.attends_to_source:
            raise ValueError(
                f"`objective.guided_attention` is for models that attend to a source, not for `model.family: "
                f"{family}`: set it to 0."
            )


class CrossEntropy:
    """Sum the smoothed cross entropy over target tokens, the end of sentence counted."""

    def __init__(self, config: CrossEntropyConfig) -> None:
        """Without a `label_smoothing`, which the config of a run always has, there is none."""
        self.config, self.label_smoothing = config, config.label_smoothing or 0.0

    def __call__(self, model: Any, batch: TokenBatch, context: StepContext) -> Loss:
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
        return Loss(total, predicted.sum().to(total), logs, output.carry)

    def _output(self, model: Any, batch: TokenBatch, context: StepContext) -> DecoderOutput:
        """Run a teacher-forced pass, with its attention where that is guided."""
        if self.config.guided_attention:
            output: DecoderOutput = model(batch, need_attention=True)
        else:
            output = model(batch) if context.carry is None else model(batch, context.carry)
        return output

    def _strayed(self, output: DecoderOutput, batch: TokenBatch) -> Tensor:
        """Sum over the tokens how far their attention is from the diagonal."""
        assert output.attention is not None, "it was asked for"
        assert output.relative_src_positions is not None, "it comes with the attention"
        assert batch.tgt_out is not None, "cross entropy needs a target"
        return off_diagonal_cost(
            output.attention, output.relative_src_positions, batch.tgt_out, self.config.guided_width
        )

    def _penalty(self, output: DecoderOutput, predicted: Tensor) -> Tensor:
        """Sum over the tokens (B, T) that are predicted what activation regularisation costs (Merity et al. 2017)."""
        assert output.undropped is not None, "the config asks for these of recurrent models only"
        dropped, undropped = output.hidden.float(), output.undropped.float()
        size = dropped.square().mean(-1)[predicted].sum()
        changes = (undropped[:, 1:] - undropped[:, :-1]).square().mean(-1)[predicted[:, 1:]].sum()
        return self.config.activation_penalty * size + self.config.slowness_penalty * changes


LEAST = 1e-8
"""A smaller share of the attention on symbols counts as this much."""


def off_diagonal_cost(attention: Tensor, src_places: Tensor, tgt_out: Tensor, width: float) -> Tensor:
    """Sum over the predicted tokens how much of their attention is how far from the diagonal, from 0 to 1 each.

    What a token at place t, of 0 to 1, gives to a position at place s costs 1 - exp(-(s - t)^2 / (2 width^2)), as a
    share of what it gives to all that stand somewhere: no attention is saved by looking at tags instead.

    Args:
        attention: (B, T, S).
        src_places: (B, S), from 0 at the first symbol to 1 at the last; below 0 for what stands nowhere, as padding
            and tags do, which does not count.
        tgt_out: (B, T), `IGNORE` at padding.
        width: how far from the diagonal attention may be, as a share of the whole.
    """
    predicted = tgt_out != IGNORE
    last = (predicted.sum(1, keepdim=True) - 1).clamp_min(1)
    tgt_places = torch.arange(tgt_out.size(1), device=tgt_out.device) / last  # (B, T)
    distance = src_places[:, None, :] - tgt_places[:, :, None]
    cost = -torch.expm1(-distance.square() / (2 * width**2))
    attention = attention.float().masked_fill((src_places < 0)[:, None, :], 0.0)
    strayed = (attention * cost).sum(2) / attention.sum(2).clamp_min(LEAST)
    return strayed.masked_fill(~predicted, 0.0).sum()
