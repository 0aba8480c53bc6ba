"""Policy gradient on episodes: REINFORCE, actor-critic and PPO (Sutton and Barto 2018, chapter 13).

The gradient of the expected return is the expectation, over episodes, of the sum over actions of the advantage times
the gradient of the log-probability of the action (Williams 1992).

Shapes: B episodes, T actions, A outputs of the model.
"""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from seqlab.base.bounds import NonNegative, Positive
from seqlab.base.config_class import dataclass
from seqlab.models.predictor import TargetSize
from seqlab.objectives.loss import SETTINGS, Loss, ModelFactory, StepContext
from seqlab.objectives.policy_gradient_base import MovingMean, PolicyGradientFields
from seqlab.objectives.returns import clipped_gains, mean_of_others
from seqlab.tasks.control.episodes import Episodes, Gaussian, Softmax
from seqlab.tasks.control.objective import ControlObjective, ControlObjectiveConfig, Settings


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EpisodePolicyGradientConfig(PolicyGradientFields, ControlObjectiveConfig):
    """Policy gradient on episodes: the expected return (REINFORCE, actor-critic, PPO); on-policy."""

    family: Literal["episode_policy_gradient"] = "episode_policy_gradient"
    """Name of the objective."""
    zero_config: ClassVar[Settings] = {
        **{"data.episodes_per_step": 8, "optim.optimizer.lr": 3e-3, "model.encoder.hidden_sizes": [64, 64]},
        **{"model.encoder.activation": "tanh", "objective.passes": 10, "objective.entropy": 0.01},
    }
    returns: Literal["total", "to_go"] = "to_go"
    """Return of an action: all rewards of the episode (`total`), or those of this and the later actions (`to_go`)."""
    baseline: Literal["none", "moving_mean", "other_episodes", "critic"] = "critic"
    """Number subtracted from a return: none, the mean of earlier steps (`moving_mean`), the mean of the other episodes
    of the step at the same action (`other_episodes`), or the estimate of a learned critic, which is a second model of
    the `model` section."""
    entropy: NonNegative = 0.0
    """Weight of the entropy of each action, in nats, which is added to its gain to keep exploring."""
    initial_deviation: Positive = 0.5
    """For continuous actions: standard deviation at the start, as a share of half the range of a value."""

    def check_division(self, ranks: int, episodes: int) -> None:
        """Raise ValueError if a process has no other episodes to compare with, or not all of them."""
        super().check_division(ranks, episodes)
        if self.baseline == "other_episodes" and (ranks > 1 or episodes < 2):
            raise ValueError("`baseline: other_episodes` needs one process and at least 2 `data.episodes_per_step`.")

    def build_for(self, model: Any, factory: ModelFactory | None = None) -> "EpisodePolicyGradient":
        """Build the objective for a model."""
        return EpisodePolicyGradient(self, factory)


class EpisodePolicyGradient(ControlObjective):
    """Negative expected return, estimated by the episodes of a step."""

    def __init__(self, config: EpisodePolicyGradientConfig, factory: ModelFactory | None) -> None:
        super().__init__(config, factory)
        self.passes, size = config.passes, self.actions.size
        self.critic = self.factory.build(tgt=TargetSize(1)) if config.baseline == "critic" else None
        start = math.log(config.initial_deviation)
        self.log_deviation = None if self.actions.is_discrete else nn.Parameter(torch.full((size,), start))
        self.moving_mean = MovingMean(config.baseline_decay)

    def exploration(self, model: Any, step: int) -> Softmax | Gaussian:
        """Return the policy itself: its actions are random."""
        if self.log_deviation is None:
            return Softmax(model)
        return Gaussian(model, self.actions, self.log_deviation.exp())

    def loss(self, model: Any, episodes: Episodes, context: StepContext) -> Loss:
        """Sum the negative gains over episodes; the critic's squared errors are added per action.

        Logs besides those of all objectives on episodes: `entropy` of an action in nats, `clipped`, the share of
        actions without a gradient, `mean_return` over actions, and `critic_error`.
        """
        mask, fixed = episodes.mask, episodes.fixed
        policy = self.exploration(model, 0).distribution(episodes.observations[:, :-1][mask])
        zeros = torch.zeros_like(episodes.rewards)
        log_probs = zeros.masked_scatter(mask, policy.log_prob(episodes.actions[mask]))
        entropy = zeros.masked_scatter(mask, policy.entropy())
        values = None if self.critic is None else episodes.outputs(self.critic)[..., 0]  # (B, T + 1)
        if not fixed:
            fixed["log_probs"] = log_probs.detach()
            fixed["advantages"], fixed["returns"] = self._advantages(episodes, values)
        gains, is_clipped = clipped_gains(log_probs, fixed["log_probs"], fixed["advantages"], self.config.clip)
        total = -((gains + self.config.entropy * entropy) * mask).sum()
        num_actions = mask.sum().to(total)
        logs = self.episode_logs(episodes) | {
            "entropy": ((entropy.detach() * mask).sum(), num_actions),
            "clipped": ((is_clipped & mask).sum().to(total), num_actions),
            "mean_return": ((fixed["returns"] * mask).sum(), num_actions),
        }
        loss = Loss(total, total.new_tensor(len(mask)), logs)
        if values is None:
            return loss
        error = ((values[:, :-1] - fixed["returns"]).square() * mask).sum()
        return loss + self.config.critic_weight * Loss(error, num_actions, {"critic_error": error.detach()})

    def observe(self, sums: dict[str, Tensor]) -> None:
        """Update the moving mean of returns, after all ranks have added theirs."""
        self.moving_mean.update(sums)

    def _advantages(self, episodes: Episodes, values: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the advantages and the returns of the actions, both (B, T)."""
        if values is None:
            values = torch.nn.functional.pad(torch.zeros_like(episodes.rewards), (0, 1))
        returns = episodes.lambda_returns(values, self.config.discount, self.config.trace_decay)
        baseline = values.detach()[:, :-1] * episodes.mask
        if self.config.returns == "total":
            returns = returns[:, :1].expand_as(returns)
        if self.config.baseline == "moving_mean":
            baseline = self.moving_mean.value.to(returns)
        elif self.config.baseline == "other_episodes":
            baseline = mean_of_others(returns, len(returns))
        return returns - baseline, returns
