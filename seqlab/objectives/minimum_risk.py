"""Minimum risk training: the expected reward over a set of candidates (Shen et al. 2016, arXiv:1512.02433).

The probabilities of the candidates are renormalized over the set. The expectation is therefore biased towards the
candidates at hand: it is exact only if they are all sequences.
"""

from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor

from seqlab.base.bounds import Positive
from seqlab.base.config_class import dataclass
from seqlab.data.batch import DecoderBatch
from seqlab.models.outputs import NEG_INF
from seqlab.objectives.loss import SETTINGS, Loss, ModelFactory
from seqlab.objectives.sampled import Actions, Samples
from seqlab.objectives.sampled_objective import SampledConfig, SampledObjective, TargetRows
from seqlab.search.config import SamplingConfig


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MinimumRiskConfig(SampledConfig):
    """Minimum risk training: the expected reward over the candidates of each source (Shen et al. 2016)."""

    family: Literal["minimum_risk"] = "minimum_risk"
    """Name of the objective."""
    candidates: Literal["samples", "beam"] = "samples"
    """Candidates of a source: random samples, of which equal ones count once, or the hypotheses of a beam search with
    `num_samples` hypotheses (Edunov et al. 2018, arXiv:1711.04956)."""
    sharpness: Positive = 0.05
    """Exponent (alpha) of the probabilities before they are renormalized over the candidates: the lower, the more equal
    are the weights of the candidates."""

    @model_validator(mode="after")
    def _check_candidates(self) -> "MinimumRiskConfig":
        if self.num_samples < 2:
            raise ValueError("`num_samples` must be at least 2: a single candidate has the weight 1 and no gradient.")
        return self

    def build(self) -> "MinimumRisk":
        """Build the objective."""
        return MinimumRisk(self, None)

    def build_for(self, model: Any, factory: ModelFactory | None = None) -> "MinimumRisk":
        """Build the objective for a model."""
        return MinimumRisk(self, model)


class MinimumRisk(SampledObjective):
    """Negative expected reward over the candidates of each source."""

    def draw(self, model: Any, batch: DecoderBatch, config: SamplingConfig) -> list[list[int]]:
        """Draw samples, or search for the most probable hypotheses."""
        if self.config.candidates == "samples":
            return super().draw(model, batch, config)
        return self.policy.most_probable(model, batch, config, self.config.num_samples)

    def sample_loss(self, actions: Actions, rewards: Tensor, samples: Samples, rows: TargetRows) -> Loss:
        """Sum the negative expected reward over rows; each distinct candidate counts once."""
        count = self.config.num_samples
        is_repeated = torch.tensor(
            [
                samples.ids[row] in samples.ids[row - row % count : row]  # an earlier candidate of the same source
                for row in range(len(samples.ids))
            ],
            device=rewards.device,
        )
        scores = self.config.sharpness * actions.log_probs.sum(1).masked_fill(is_repeated, NEG_INF)  # (N,)
        weights = scores.unflatten(0, (-1, count)).softmax(1)  # (B, K)
        expected = (weights * rewards.sum(1).unflatten(0, (-1, count))).sum(1)  # (B,)
        has_target = rows.has_action.any(1).unflatten(0, (-1, count)).any(1)
        total = -(expected * has_target).sum()
        logs = {"candidates": ((~is_repeated & rows.has_action.any(1)).sum().to(total), rows.num_rows)}
        return Loss(total, rows.num_rows, logs)
