"""Deep deterministic policy gradient, for actions that are vectors (Lillicrap et al. 2016, arXiv:1509.02971).

The critic estimates the value of an action in a state. The actor follows the gradient of this value with respect to its
action.

Shapes: N transitions, A values of an action.
"""

from copy import deepcopy
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from seqlab.base.bounds import CountOrZero, NonNegative
from seqlab.base.config_class import dataclass
from seqlab.models.predictor import InputShape, TargetSize
from seqlab.objectives.loss import SETTINGS, Loss, ModelFactory, StepContext
from seqlab.tasks.control.behavior import Gaussian, Uniform, scale_to_bounds
from seqlab.tasks.control.environment import ActionCodec
from seqlab.tasks.control.episodes import Behavior, values_of
from seqlab.tasks.control.objective import Collected, ControlObjectiveConfig
from seqlab.tasks.control.replay import ReplayConfig, ReplayObjective
from seqlab.tasks.control.values import follow


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DdpgConfig(ReplayConfig, ControlObjectiveConfig):
    """Deep deterministic policy gradient, for actions that are vectors (arXiv:1509.02971); off-policy."""

    family: Literal["ddpg"] = "ddpg"
    """Name of the objective."""
    is_on_policy: ClassVar[bool] = False
    noise: NonNegative = 0.1
    """Standard deviation of the noise of actions in training, as a share of half the range of a value."""
    random_steps: CountOrZero = 5
    """Training steps at the start with uniformly random actions."""

    def check_actions(self, actions: ActionCodec) -> None:
        """Raise ValueError for numbered actions."""
        if actions.is_discrete:
            raise ValueError(
                "`objective.family: ddpg` needs actions that are vectors, but these are numbered: choose `q_learning` "
                "or `episode_policy_gradient`."
            )

    def build_for(self, model: Any, factory: ModelFactory | None = None) -> "Ddpg":
        """Build the objective for a model."""
        return Ddpg(self, model, factory)


class Ddpg(ReplayObjective):
    """Squared error of a critic of actions, and the negative value of the actions of the model."""

    def __init__(self, config: DdpgConfig, model: Any, factory: ModelFactory | None) -> None:
        super().__init__(config, factory)
        assert factory is not None
        if len(self.observations.shape) != 2 or self.observations.shape[0] != 1:
            raise ValueError("`objective.family: ddpg` needs single observations of numbers, not images or windows.")
        inputs = InputShape((1, self.observations.shape[1] + self.actions.size))
        self.critic = factory.build(inputs, TargetSize(1))
        self.target_actor, self.target_critic = (
            deepcopy(each).requires_grad_(False).eval() for each in (model, self.critic)
        )

    def exploration(self, model: Any, step: int) -> Behavior:
        """Return the actions of the model with noise; uniformly random ones at the start."""
        if step < self.config.random_steps:
            return Uniform(self.actions)
        return Gaussian(model, self.actions, torch.full((self.actions.size,), self.config.noise))

    def loss(self, model: Any, collected: Collected, context: StepContext) -> Loss:
        """Sum the errors of the critic and the losses of the actor over transitions of the replay buffer.

        The log `value` is the mean value of the actions of the model.
        """
        follow(self.target_actor, model, self.config.target_decay)
        follow(self.target_critic, self.critic, self.config.target_decay)
        drawn = self.replay.draw(self.config.batch_size, context)
        with torch.no_grad():
            next_actions = scale_to_bounds(values_of(self.target_actor, drawn.next_observations), self.actions)
            following = self._values(self.target_critic, drawn.next_observations, next_actions)
            targets = drawn.rewards + self.config.discount * (1 - drawn.terminated) * following
        taken = drawn.actions.clamp(*(drawn.actions.new_tensor(each) for each in (self.actions.low, self.actions.high)))
        error = (self._values(self.critic, drawn.observations, taken) - targets).square().sum()
        actions = scale_to_bounds(values_of(model, drawn.observations), self.actions)
        # The gradient of the value with respect to the actions only: the critic must not learn from it.
        fixed = actions.detach().requires_grad_()
        values = self._values(self.critic, drawn.observations, fixed)
        [slope] = torch.autograd.grad(values.sum(), fixed)
        total = error - (slope * actions).sum()
        logs = self.episode_logs(collected.episodes) | {"value": values.detach().sum()}
        return Loss(total, total.new_tensor(len(values)), {**logs, "critic_error": error.detach()})

    def _values(self, critic: Any, observations: Tensor, actions: Tensor) -> Tensor:
        """Return the values (N,) of actions (N, A), relative to the middle of their bounds and half their range."""
        low, high = actions.new_tensor(self.actions.low), actions.new_tensor(self.actions.high)
        scaled = (actions - (low + high) / 2) / ((high - low) / 2)
        return values_of(critic, torch.cat([observations, scaled[:, None]], dim=2))[:, 0]
