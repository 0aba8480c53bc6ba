"""Learn the values of actions or states by temporal differences: Q-learning, SARSA and TD(lambda).

The value of an action is the expected discounted return after it. It is estimated from the reward and the value of the
next action (Sutton and Barto 2018, chapters 6, 7 and 12). The model is a table or a network.

Shapes: N transitions, B episodes, T actions, A numbered actions.
"""

from copy import deepcopy
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from seqlab.base.bounds import Count
from seqlab.base.config_class import dataclass
from seqlab.objectives.loss import SETTINGS, Loss, ModelFactory, StepContext
from seqlab.objectives.replay_buffer import update_target
from seqlab.tasks.control.environment import ActionCodec, StateValueCodec
from seqlab.tasks.control.episodes import Behavior, Episodes, EpsilonGreedy, Uniform, values_of
from seqlab.tasks.control.objective import (
    ControlObjective,
    ControlObjectiveConfig,
    ReplayConfig,
    ReplayObjective,
    Settings,
    Share,
)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ExploringConfig(ControlObjectiveConfig):
    """Common fields of objectives that learn the value of each action, and explore with probability epsilon."""

    needs_discrete: ClassVar[bool | None] = True
    epsilon_start: Share = 1.0
    """Probability of a random action in the first step."""
    epsilon_end: Share = 0.05
    """Probability of a random action after `epsilon_steps`."""
    epsilon_steps: Count = 500
    """Training steps over which the probability falls linearly."""

    def exploration(self, model: Any, actions: ActionCodec, step: int) -> Behavior:
        """Return the epsilon-greedy behavior of a step."""
        done = min(1.0, step / self.epsilon_steps)
        return EpsilonGreedy(model, actions, self.epsilon_start + done * (self.epsilon_end - self.epsilon_start))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class QLearningConfig(ReplayConfig, ExploringConfig):
    """Q-learning: the values of the best actions, from a replay buffer (Watkins 1989, Mnih et al. 2015); off-policy."""

    family: Literal["q_learning"] = "q_learning"
    """Name of the objective."""
    zero_config: ClassVar[Settings] = {"optim.optimizer.lr": 0.1, "objective.target_decay": 0.0}
    double: bool = True
    """Whether the current network chooses the next action that the target network evaluates (arXiv:1509.06461), which
    reduces the overestimation of values; no effect with `target_decay: 0`."""

    def build_for(self, model: Any, factory: ModelFactory | None = None) -> "QLearning":
        """Build the objective for a model."""
        return QLearning(self, model, factory)


class QLearning(ReplayObjective):
    """Squared difference between the value of an action, and its reward plus the value of the best next one."""

    def __init__(self, config: QLearningConfig, model: Any, factory: ModelFactory | None) -> None:
        super().__init__(config, factory)
        self.target = deepcopy(model).requires_grad_(False).eval() if config.target_decay else None

    def loss(self, model: Any, episodes: Episodes, context: StepContext) -> Loss:
        """Sum the squared errors over transitions of the replay buffer; the log `value` is the mean value."""
        if self.target is not None:
            update_target(self.target, model, self.config.target_decay)
        drawn = self.draw(context)
        values = values_of(model, drawn.observations).gather(1, drawn.actions[:, None])[:, 0]
        with torch.no_grad():
            after = values_of(self.target or model, drawn.next_observations)  # (N, A)
            chooser = values_of(model, drawn.next_observations) if self.config.double and self.target else after
            next_values = after.gather(1, chooser.argmax(1, keepdim=True))[:, 0]
            targets = drawn.rewards + self.config.discount * next_values * ~drawn.terminated
        error = (values - targets).square().sum()
        logs = self.episode_logs(episodes) | {"value": values.detach().sum()}
        return Loss(error, error.new_tensor(len(values)), logs)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SarsaConfig(ExploringConfig):
    """SARSA: the values of the actions of the exploring behavior itself (Rummery and Niranjan 1994); on-policy."""

    family: Literal["sarsa"] = "sarsa"
    """Name of the objective."""

    def build_for(self, model: Any, factory: ModelFactory | None = None) -> "Sarsa":
        """Build the objective for a model."""
        return Sarsa(self, factory)


class Sarsa(ControlObjective):
    """Squared difference between the value of an action, and its reward plus the value of the action after it."""

    def loss(self, model: Any, episodes: Episodes, context: StepContext) -> Loss:
        """Sum the squared errors over the actions of the episodes; the log `value` is the mean value.

        After the last action of an episode that was cut, the next value is its expectation under the exploring
        behavior.
        """
        outputs, mask = episodes.outputs(model), episodes.mask  # (B, T + 1, A), (B, T)
        values = outputs[:, :-1].gather(2, episodes.actions[..., None])[..., 0]  # (B, T)
        after, behavior = outputs.detach()[:, 1:], self.config.exploration(model, self.actions, context.step)
        expected = after.amax(2).lerp(after.mean(2), behavior.epsilon)
        next_values = values.detach().roll(-1, 1).where(~episodes.last_rows, expected)
        targets = episodes.rewards + self.config.discount * next_values * ~episodes.terminated
        error = ((values - targets).square() * mask).sum()
        logs = self.episode_logs(episodes) | {"value": (values.detach() * mask).sum()}
        return Loss(error, mask.sum().to(error), logs)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TdConfig(ControlObjectiveConfig):
    """TD(lambda): the values of the states under uniformly random actions (Sutton 1988); on-policy."""

    family: Literal["td"] = "td"
    """Name of the objective."""
    trace_decay: Share = 0.0
    """Lambda: 0 uses the next reward and the value of the next state, 1 all later rewards (Monte Carlo)."""

    @classmethod
    def on_selected(cls, values: dict[str, Any]) -> None:
        """Select checkpoints by the error of the values."""
        values.setdefault("training", {})["valid_metric"] = "nll"

    def check(self, config: Any) -> None:
        """Raise ValueError if the metric is the return, which does not depend on the values."""
        super().check(config)
        if config.training.valid_metric != "nll":
            raise ValueError("`objective.family: td` needs `training.valid_metric: nll`, the error of its values.")

    def target(self, actions: ActionCodec) -> StateValueCodec:
        """Return a target side with a single output: the value."""
        return StateValueCodec(actions)

    def valid_behavior(self, model: Any, actions: ActionCodec) -> Behavior:
        """Return uniformly random actions."""
        return Uniform(actions)

    def value_error(self, model: Any, episodes: Episodes) -> Tensor:
        """Return the mean squared difference between the values of states and the returns after them."""
        values, mask = episodes.outputs(model)[..., 0], episodes.mask
        error = values[:, :-1] - episodes.lambda_returns(values, self.discount)
        return (error.square() * mask).sum() / mask.sum()

    def build_for(self, model: Any, factory: ModelFactory | None = None) -> "TemporalDifference":
        """Build the objective for a model."""
        return TemporalDifference(self, factory)


class TemporalDifference(ControlObjective):
    """Squared difference between the value of a state and its lambda-return."""

    def loss(self, model: Any, episodes: Episodes, context: StepContext) -> Loss:
        """Sum the squared errors over the states of the episodes; the log `value` is the mean value."""
        values, mask = episodes.outputs(model)[..., 0], episodes.mask  # (B, T + 1), (B, T)
        returns = episodes.lambda_returns(values, self.config.discount, self.config.trace_decay)
        error = ((values[:, :-1] - returns).square() * mask).sum()
        logs = self.episode_logs(episodes) | {"value": (values[:, :-1].detach() * mask).sum()}
        return Loss(error, mask.sum().to(error), logs)
