"""Cross entropy with label smoothing (Szegedy et al. 2016), activation penalties and guided attention."""

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from seqlab.base.bounds import NonNegative, Positive
from seqlab.base.config_class import dataclass
from seqlab.data.batch import IGNORE, TextLayout, TokenBatch
from seqlab.models.outputs import DecoderOutput
from seqlab.objectives.loss import SETTINGS, Loss, ObjectiveConfig, StepContext, first_cross_entropy_range

GUIDED_WIDTH = 0.2
"""Default of `guided_width`."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CrossEntropyConfig(ObjectiveConfig):
    """Cross entropy with teacher forcing."""

    family: Literal["cross_entropy"] = "cross_entropy"
    """Name of the objective."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Probability mass taken from the target and distributed uniformly over the vocabulary. Default: 0.1 for pairs, 0
    for language models, because it would increase their perplexity."""
    activation_penalty: NonNegative = 0.0
    """Recurrent models only: weight of the mean squared output of the last layer, after dropout, per token (activation
    regularization; alpha of AWD-LSTM, Merity et al. 2018)."""
    slowness_penalty: NonNegative = 0.0
    """Recurrent models only: weight of the mean squared change of the last layer's output from one token to the next,
    before dropout (temporal activation regularization; beta of AWD-LSTM)."""
    guided_attention: NonNegative = 0.0
    """Models with attention to a source only: weight of the cost of off-diagonal attention (Tachibana et al. 2018),
    which is from 0 to 1 per token. Use it if the alignment is monotonic, as from letters to sounds."""
    guided_width: Positive = GUIDED_WIDTH
    """Width of the band around the diagonal in which attention has a low cost, as a share of the sentence; needs
    `guided_attention` above 0."""

    text_layouts: ClassVar[frozenset[TextLayout]] = frozenset({"packed", "contiguous"})

    @model_validator(mode="after")
    def _check_guided_width(self) -> "CrossEntropyConfig":
        if not self.guided_attention and self.guided_width != GUIDED_WIDTH:
            raise ValueError(
                f"`guided_width` ({self.guided_width}) has no effect without `guided_attention`: leave it out, or set "
                "`guided_attention` above 0."
            )
        return self

    def build(self) -> "CrossEntropy":
        """Build the objective."""
        return CrossEntropy(self)

    def first_loss_range(self, num_outputs: int | None) -> tuple[float, float] | None:
        """Return a range around ln V for V outputs; None with label smoothing or another term."""
        has_other_terms = self.label_smoothing or self.activation_penalty or self.slowness_penalty
        if num_outputs is None or has_other_terms or self.guided_attention:
            return None
        return first_cross_entropy_range(num_outputs)

    def unused_fields(self, model: Any) -> tuple[str, ...]:
        """Return the fields of the penalties that the model does not support."""
        penalties = () if "recurrence" in model.abilities else ("activation_penalty", "slowness_penalty")
        return penalties if "source_attention" in model.abilities else (*penalties, "guided_attention", "guided_width")

    def check(self, config: Any) -> None:
        """Raise ValueError if the model does not support a penalty."""
        family = config.model.family
        if (self.activation_penalty or self.slowness_penalty) and "recurrence" not in config.model.abilities:
            raise ValueError(
                f"`objective.activation_penalty` and `objective.slowness_penalty` are for recurrent models, not for "
                f"`model.family: {family}`: set them to 0."
            )
        if self.guided_attention and "source_attention" not in config.model.abilities:
            raise ValueError(
                f"`objective.guided_attention` is for models that attend to a source, not for `model.family: "
                f"{family}`: set it to 0."
            )


class CrossEntropy:
    """Sum of the label-smoothed cross entropy over target tokens, including eos."""

    def __init__(self, config: CrossEntropyConfig) -> None:
        """Build the objective; a `label_smoothing` of None counts as 0 (the config of a run always has a value)."""
        self.config, self.label_smoothing = config, config.label_smoothing or 0.0

    def __call__(self, model: Any, batch: TokenBatch, context: StepContext) -> Loss:
        """Compute the loss of a batch.

        Unit: target tokens. Logs: `nll`, the loss without smoothing; with activation penalties `penalty`, their sum;
        with guided attention `strayed`, its off-diagonal cost.
        """
        assert batch.tgt_out is not None, "cross entropy needs a target"
        output = self._output(model, batch, context)
        predicted = batch.tgt_out != IGNORE
        total, nll = output.cross_entropy(batch.tgt_out, self.label_smoothing)
        logs = {"nll": nll}
        if self.config.activation_penalty or self.config.slowness_penalty:
            penalty = self._penalty(output, predicted)
            total, logs["penalty"] = total + penalty, penalty.detach()
        if self.config.guided_attention:
            cost = self._guided_attention_cost(output, batch)
            total, logs["strayed"] = total + self.config.guided_attention * cost, cost.detach()
        return Loss(total, predicted.sum().to(total), logs, output.carry)

    def _output(self, model: Any, batch: TokenBatch, context: StepContext) -> DecoderOutput:
        """Run a teacher-forced pass, with attention weights if attention is guided."""
        if self.config.guided_attention:
            output: DecoderOutput = model(batch, need_attention=True)
        else:
            output = model(batch) if context.carry is None else model(batch, context.carry)
        return output

    def _guided_attention_cost(self, output: DecoderOutput, batch: TokenBatch) -> Tensor:
        """Sum the off-diagonal cost of attention over tokens."""
        assert output.attention is not None, "the pass was called with `need_attention`"
        assert output.relative_src_positions is not None, "set together with `attention`"
        assert batch.tgt_out is not None, "cross entropy needs a target"
        return off_diagonal_cost(
            output.attention, output.relative_src_positions, batch.tgt_out, self.config.guided_width
        )

    def _penalty(self, output: DecoderOutput, predicted: Tensor) -> Tensor:
        """Sum the activation penalties over predicted tokens (B, T) (Merity et al. 2017, arXiv:1708.01009)."""
        assert output.undropped is not None, "`check` allows penalties only for recurrent models"
        dropped, undropped = output.hidden.float(), output.undropped.float()
        size = dropped.square().mean(-1)[predicted].sum()
        changes = (undropped[:, 1:] - undropped[:, :-1]).square().mean(-1)[predicted[:, 1:]].sum()
        return self.config.activation_penalty * size + self.config.slowness_penalty * changes


MIN_ATTENTION_SUM = 1e-8
"""Lower bound of the total attention on tokens, to avoid a division by 0."""


def off_diagonal_cost(attention: Tensor, relative_src_positions: Tensor, tgt_out: Tensor, width: float) -> Tensor:
    """Sum the off-diagonal cost of attention over predicted tokens (Tachibana et al. 2018, arXiv:1710.08969).

    Attention from relative position t in the target to relative position s in the source costs
    1 - exp(-(s - t)^2 / (2 width^2)). The cost of a token, from 0 to 1, is the mean over its attention to source
    tokens. Attention to tags and padding is left out of the mean, so that it cannot lower the cost.

    Args:
        attention: (B, T, S) for B sentences, T target positions, S source positions.
        relative_src_positions: (B, S), from 0 at the first token to 1 at the last; negative at tags and padding.
        tgt_out: (B, T), `IGNORE` at padding.
        width: width of the band around the diagonal in which attention has a low cost, as a share of the sentence.
    """
    predicted = tgt_out != IGNORE
    last = (predicted.sum(1, keepdim=True) - 1).clamp_min(1)
    relative_tgt_positions = torch.arange(tgt_out.size(1), device=tgt_out.device) / last  # (B, T)
    distance = relative_src_positions[:, None, :] - relative_tgt_positions[:, :, None]
    cost = -torch.expm1(-distance.square() / (2 * width**2))
    attention = attention.float().masked_fill((relative_src_positions < 0)[:, None, :], 0.0)
    mean_cost = (attention * cost).sum(2) / attention.sum(2).clamp_min(MIN_ATTENTION_SUM)
    return mean_cost.masked_fill(~predicted, 0.0).sum()
