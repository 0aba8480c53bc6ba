"""Policy gradient: train on the expected reward of samples (Williams 1992; Ranzato et al. 2016, arXiv:1511.06732).

The decoder is the actor, an id is an action, and a metric of the whole output is the reward. The gradient of the
expected reward is the expectation, over samples, of the sum over actions of the advantage times the gradient of the
log-probability. An advantage is a return minus a baseline that does not depend on the action.

Shapes: B rows of a batch, K samples of each row, N = B * K samples, T actions.
"""

from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.objectives.loss import SETTINGS, Loss, ModelFactory
from seqlab.objectives.policy_gradient_base import MovingMean, PolicyGradientFields
from seqlab.objectives.returns import clipped_gains, discounted_returns, generalized_advantages, mean_of_others
from seqlab.objectives.sampled import Actions, Samples
from seqlab.objectives.sampled_objective import SampledConfig, SampledObjective, TargetRows, pad_or_cut

Returns = Literal["total", "to_go"]
Baseline = Literal["none", "moving_mean", "greedy", "other_samples", "critic"]
MIN_DEVIATION = 1e-3
"""Lower bound of the standard deviation of rewards, for sources whose samples have equal rewards."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PolicyGradientConfig(PolicyGradientFields, SampledConfig):
    """Policy gradient: the expected reward of samples (REINFORCE, actor-critic, PPO)."""

    family: Literal["policy_gradient"] = "policy_gradient"
    """Name of the objective."""
    returns: Returns = "total"
    """Return of an action: the reward of the whole sample (`total`), or the sum of the rewards of this and the later
    actions (`to_go`), where the reward of an action is the increase from the prefix before it to the one after it."""
    discount: Annotated[float, Field(gt=0, le=1)] = 1.0
    """With `returns: to_go`: factor of the reward of each later action. Below 1 the variance and the weight of distant
    rewards are lower, and the gradient is biased."""
    baseline: Baseline = "other_samples"
    """Number subtracted from a return: none, the mean of earlier steps (`moving_mean`), the return of the greedy output
    (`greedy`, self-critical training, arXiv:1612.00563), the mean return of the other samples of the source
    (`other_samples`, leave-one-out), or the estimate of a learned `critic`, a layer on the hidden states of the
    decoder, which receive no gradient from it. With `to_go` it is the return at the same position, except for
    `moving_mean`, which is one number."""
    standardize: bool = False
    """Whether to divide the advantages of a source by the standard deviation of the rewards of its samples, so that all
    sources have the same influence (GRPO, arXiv:2402.03300); biased."""

    @model_validator(mode="after")
    def _check_unused(self) -> "PolicyGradientConfig":
        if self.discount < 1 and self.returns != "to_go":
            raise ValueError(f"`discount` ({self.discount}) needs `returns: to_go`: set it, or leave `discount` out.")
        if self.standardize and self.baseline != "other_samples":
            raise ValueError("`standardize` divides by the spread of the samples: it needs `baseline: other_samples`.")
        if self.num_samples == 1 and (self.baseline == "other_samples" or self.standardize):
            name = "standardize" if self.standardize else "baseline: other_samples"
            raise ValueError(f"`{name}` compares samples of a source: set `num_samples` to at least 2.")
        return self

    def check(self, config: Any) -> None:
        """Raise ValueError if the model has no single actions, as CTC models, but the config needs them."""
        super().check(config)
        if config.model.outputs == "frames" and (self.returns == "to_go" or self.baseline == "critic"):
            raise ValueError(
                f"`returns: to_go` and `baseline: critic` need a model that predicts one token after the other, but "
                f"`model.family: {config.model.family}` predicts all frames at once: choose `returns: total` and "
                "another baseline."
            )

    def build(self) -> "PolicyGradient":
        """Build the objective without a critic."""
        return PolicyGradient(self, None)

    def build_for(self, model: Any, factory: ModelFactory | None = None) -> "PolicyGradient":
        """Build the objective for a model."""
        return PolicyGradient(self, model)


@runtime_checkable
class ProjectingModel(Protocol):
    """A model whose output projection maps hidden states to logits."""

    projection: Any
    """The projection, with a `weight` (V, D)."""


class PolicyGradient(SampledObjective):
    """Negative expected reward, estimated by the samples of each source."""

    def __init__(self, config: PolicyGradientConfig, model: Any) -> None:
        super().__init__(
            config, model, needs_prefixes=config.returns == "to_go", needs_greedy=config.baseline == "greedy"
        )
        self.passes = config.passes
        self.critic = nn.Linear(hidden_size(model), 1) if config.baseline == "critic" else None
        self.moving_mean = MovingMean(config.baseline_decay)

    def sample_loss(self, actions: Actions, rewards: Tensor, samples: Samples, rows: TargetRows) -> Loss:
        """Sum the negative gains over rows: ratio of the probabilities times advantage, averaged over samples.

        Logs: `advantage`, the mean size of the advantages; `clipped`, the share of actions without a gradient; with a
        critic `critic_error`, its squared error per action.
        """
        assert samples.old_log_probs is not None
        is_used = rows.has_action
        returns = self._returns(rewards)
        values = None if self.critic is None else self._values(actions)
        advantages = self._advantages(rewards, returns, values, samples)
        if self.config.standardize:
            advantages = advantages / _deviations(rewards.sum(1), self.config.num_samples)[:, None]
        gains, is_clipped = clipped_gains(actions.log_probs, samples.old_log_probs, advantages, self.config.clip)
        total = -gains.masked_fill(~is_used, 0.0).sum() / self.config.num_samples
        num_actions = is_used.sum().to(gains)
        logs = {
            "advantage": ((advantages.abs() * is_used).sum(), num_actions),
            "clipped": ((is_clipped & is_used).sum().to(gains), num_actions),
            "mean_return": ((returns * is_used).sum(), num_actions),
        }
        loss = Loss(total, rows.num_rows, logs)
        if values is None:
            return loss
        error = ((values - returns).square() * is_used).sum()
        return loss + self.config.critic_weight * Loss(error, num_actions, {"critic_error": error.detach()})

    def observe(self, sums: dict[str, Tensor]) -> None:
        """Update the moving mean of returns, after all ranks have added theirs."""
        super().observe(sums)
        self.moving_mean.update(sums)

    def _returns(self, rewards: Tensor) -> Tensor:
        """Return the return of each action (N, T)."""
        if self.config.returns == "to_go":
            return discounted_returns(rewards, self.config.discount)
        return rewards.sum(1, keepdim=True).expand_as(rewards)

    def _values(self, actions: Actions) -> Tensor:
        """Estimate the return of each action (N, T) from the hidden state before it, which receives no gradient."""
        assert self.critic is not None
        assert actions.hidden is not None, "`check` allows a critic only for autoregressive models"
        values: Tensor = self.critic(actions.hidden.detach().float())[..., 0]
        return values.masked_fill(~actions.mask, 0.0)

    def _advantages(self, rewards: Tensor, returns: Tensor, values: Tensor | None, samples: Samples) -> Tensor:
        """Subtract the baseline from the returns (N, T)."""
        baseline, count = self.config.baseline, self.config.num_samples
        if baseline == "moving_mean":
            return returns - self.moving_mean.value.to(returns)
        if baseline == "other_samples":
            return returns - mean_of_others(returns, count)
        if baseline == "greedy":
            assert samples.greedy_rewards is not None
            greedy = samples.greedy_rewards.result().by_token.repeat_interleave(count, 0).to(returns)  # (N, t)
            if self.config.returns == "total":
                return returns - greedy.sum(1, keepdim=True)
            # The returns of all of its ids, before it is cut to the samples that it is compared with.
            return returns - pad_or_cut(self._returns(greedy), returns)
        if values is None:
            return returns
        if self.config.returns == "total":
            return returns - values.detach()
        return generalized_advantages(rewards, values.detach(), self.config.discount, self.config.trace_decay)


def hidden_size(model: Any) -> int:
    """Return the size of the hidden states of a model with an output projection, for its critic."""
    if not isinstance(model, ProjectingModel):
        raise ValueError(
            f"`baseline: critic` reads the hidden states before the output projection, but {type(model).__name__} has "
            "no `projection` with a `weight` (V, D): choose another baseline."
        )
    return int(model.projection.weight.size(1))


def _deviations(rewards: Tensor, num_samples: int) -> Tensor:
    """Return the standard deviation of the rewards (N,) of the samples of the same row."""
    deviations = rewards.unflatten(0, (-1, num_samples)).std(1).clamp_min(MIN_DEVIATION)
    return deviations.repeat_interleave(num_samples)
